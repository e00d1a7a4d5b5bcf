//! Queues of the hub: bounded one by one and together, from several threads.

use super::*;
use crate::answer::AnswerKind;

fn hub(per_stream: usize, in_all: usize) -> AnswerHub {
    AnswerHub::new(&Limits { answer_events_per_stream_max: per_stream, answer_events_max: in_all, ..Limits::default() })
}

fn source(last: u8) -> Arc<SourceScore> {
    let limits = Arc::new(Limits::default());
    Arc::new(SourceScore::new([127, 0, 0, last].into(), limits, crate::score::Clock::start()))
}

fn rejected(sequence: u64) -> AnswerEvent {
    AnswerEvent::here(AnswerKind::Rejected, (sequence % 7) as u8, sequence)
}

#[test]
fn a_full_queue_counts_and_reports() {
    let hub = hub(4, 100);
    let (stream, answers) = hub.register(source(1));
    (0..10).for_each(|sequence| hub.send(stream, rejected(sequence)));
    assert_eq!((hub.queued(), hub.lost()), (4, 6));
    let mut events = Vec::new();
    hub.take(&answers, 100, &mut events);
    assert_eq!(events.len(), 5);
    assert_eq!((events[4].kind, events[4].first, events[4].count), (AnswerKind::Lost, 4, 6));
    assert_eq!(hub.queued(), 0);
}

#[test]
fn a_greedy_address_does_not_cost_others_their_answers() {
    // 25 full streams reach the bound; the greedy address gets one event for each further stream.
    let hub = hub(4, 100);
    let (greedy, modest) = (source(2), source(1));
    let open = |source: &Arc<SourceScore>| hub.register(source.clone());
    let greedy_streams: Vec<_> = (0..40).map(|_| open(&greedy)).collect();
    let fill = |stream: StreamId| (0..4).for_each(|sequence| hub.send(stream, rejected(sequence)));
    greedy_streams.iter().for_each(|(stream, _)| fill(*stream));
    assert_eq!((hub.queued(), hub.lost()), (100 + 15, 15 * 3));
    let modest_streams: Vec<_> = (0..3).map(|_| open(&modest)).collect();
    modest_streams.iter().for_each(|(stream, _)| fill(*stream));
    assert_eq!((hub.queued(), hub.lost()), (115 + 3 * 4, 15 * 3), "the modest address loses nothing");
    let mut events = Vec::new();
    hub.take(&modest_streams[0].1, 100, &mut events);
    assert_eq!(events, (0..4).map(rejected).collect::<Vec<_>>());
    greedy_streams.iter().chain(&modest_streams).for_each(|(stream, _)| hub.unregister(*stream));
    assert_eq!(hub.queued(), 0);
    assert_eq!(hub.shared.addresses.load(Ordering::Relaxed), 0);
    assert_eq!(greedy.answers_queued.load(Ordering::Relaxed), 0);
}

#[test]
fn many_addresses_reach_the_ceiling_and_no_more() {
    let hub = hub(4, 20);
    let streams: Vec<_> = (0..10).flat_map(|last| (0..8).map(move |_| last)).map(source).collect();
    let streams: Vec<_> = streams.into_iter().map(|source| hub.register(source)).collect();
    for (stream, _) in &streams {
        (0..4).for_each(|sequence| hub.send(*stream, rejected(sequence)));
    }
    // 20 full streams of 80; the other 60 have one event each.
    assert_eq!(hub.queued(), CEILING * 20 + 60);
    streams.iter().for_each(|(stream, _)| hub.unregister(*stream));
    assert_eq!((hub.queued(), hub.shared.addresses.load(Ordering::Relaxed)), (0, 0));
}

#[test]
fn a_stream_that_is_given_up_counts_its_losses_once() {
    let hub = hub(4, 100);
    let (stream, answers) = hub.register(source(1));
    (0..10).for_each(|sequence| hub.send(stream, rejected(sequence)));
    let mut unwritten = Vec::new();
    hub.take(&answers, 2, &mut unwritten);
    hub.give_up(&answers, &unwritten);
    assert_eq!((hub.queued(), hub.lost()), (0, 10), "6 found no room, 2 waited, 2 were not written");
    hub.send(stream, rejected(10));
    hub.unregister(stream);
    assert_eq!((hub.queued(), hub.lost(), hub.unwanted()), (0, 10, 1));
}

#[test]
fn answers_to_nobody_are_dropped() {
    let hub = hub(4, 100);
    let (stream, _answers) = hub.register(source(1));
    hub.unregister(stream);
    hub.send(stream, rejected(0));
    hub.send(StreamId::NONE, rejected(0));
    assert_eq!((hub.queued(), hub.lost(), hub.unwanted()), (0, 0, 1));
}

#[test]
fn threads_share_a_stream_without_losing_count() {
    let hub = hub(64, 1_000);
    let (stream, answers) = hub.register(source(1));
    std::thread::scope(|scope| {
        for thread in 0..4u64 {
            let hub = hub.clone();
            scope.spawn(move || (0..1_000).for_each(|turn| hub.send(stream, rejected(thread * 1_000 + turn))));
        }
    });
    let mut events = Vec::new();
    hub.take(&answers, usize::MAX, &mut events);
    let total: u64 = events.iter().map(|event| u64::from(event.count)).sum();
    assert_eq!(total, 4_000);
    assert_eq!(hub.queued(), 0);
}
