//! Queues of the hub: bounded one by one and together, from several threads.

use super::*;
use crate::answer::AnswerKind;

fn hub(per_stream: usize, in_all: usize) -> AnswerHub {
    AnswerHub::new(&Limits { answer_events_per_stream_max: per_stream, answer_events_max: in_all, ..Limits::default() })
}

fn rejected(sequence: u64) -> AnswerEvent {
    AnswerEvent::here(AnswerKind::Rejected, (sequence % 7) as u8, sequence)
}

#[test]
fn a_full_queue_counts_and_reports() {
    let hub = hub(4, 100);
    let (stream, answers) = hub.register();
    (0..10).for_each(|sequence| hub.send(stream, rejected(sequence)));
    assert_eq!((hub.queued(), hub.lost()), (4, 6));
    let mut events = Vec::new();
    hub.take(&answers, 100, &mut events);
    assert_eq!(events.len(), 5);
    assert_eq!((events[4].kind, events[4].first, events[4].count), (AnswerKind::Lost, 4, 6));
    assert_eq!(hub.queued(), 0);
}

#[test]
fn a_crowded_hub_leaves_one_event_a_stream() {
    let hub = hub(10, 5);
    let streams: Vec<_> = (0..4).map(|_| hub.register()).collect();
    for (stream, _) in &streams {
        (0..10).for_each(|sequence| hub.send(*stream, rejected(sequence)));
    }
    assert!(hub.queued() <= 5 + 4, "{} events wait", hub.queued());
    streams.iter().for_each(|(stream, _)| hub.unregister(*stream));
    assert_eq!(hub.queued(), 0);
}

#[test]
fn answers_to_nobody_are_dropped() {
    let hub = hub(4, 100);
    let (stream, _answers) = hub.register();
    hub.unregister(stream);
    hub.send(stream, rejected(0));
    hub.send(StreamId::NONE, rejected(0));
    assert_eq!((hub.queued(), hub.lost(), hub.unwanted()), (0, 0, 1));
}

#[test]
fn threads_share_a_stream_without_losing_count() {
    let hub = hub(64, 1_000);
    let (stream, answers) = hub.register();
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
