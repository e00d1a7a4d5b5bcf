//! The arithmetic of recorders: runs over frames, warm-up, deadline, merging.

use super::*;

const SECOND_NS: u64 = 1_000_000_000;

fn event(kind: AnswerKind, code: u8, first: u64, count: u32) -> AnswerEvent {
    AnswerEvent { count, ..AnswerEvent::here(kind, code, first) }
}

/// Three frames of 10, at 0, 1 and 2 seconds.
fn times() -> StreamTimes {
    StreamTimes { frame_transactions: 10, moments_ns: vec![0, SECOND_NS, 2 * SECOND_NS] }
}

#[test]
fn a_run_is_measured_from_the_moments_of_the_frames_that_it_touches() {
    let mut recorder = Recorder::new(0, u64::MAX);
    let answered = recorder.on_answers(3 * SECOND_NS, &[event(AnswerKind::Applied, 0, 5, 20)], &times());
    assert_eq!(answered, Answered { first: 0, last: 20 });
    let latency = &recorder.latency_applied;
    assert_eq!(latency.len(), 20);
    let around = |seconds: u64| latency.count_between(seconds * 1_000_000 - 5_000, seconds * 1_000_000 + 5_000);
    assert_eq!((around(3), around(2), around(1)), (5, 10, 5));
    assert_eq!(recorder.seconds.len(), 4);
    assert_eq!(recorder.seconds[3].counts.applied, 20);
    assert_eq!(recorder.seconds[3].latency_applied.len(), 20);
}

#[test]
fn latencies_are_of_what_was_due_after_the_warm_up_even_when_answered_after_the_deadline() {
    let mut recorder = Recorder::new(SECOND_NS, 2 * SECOND_NS);
    recorder.on_sent(SECOND_NS / 2, 10, 1_800);
    recorder.on_sent(SECOND_NS, 10, 1_800);
    recorder.on_answers(SECOND_NS * 3 / 2, &[event(AnswerKind::Final, 0, 0, 10)], &times());
    recorder.on_answers(9 * SECOND_NS, &[event(AnswerKind::Final, 0, 10, 10)], &times());
    assert_eq!(recorder.latency_final.len(), 10, "the first frame was due in the warm-up");
    assert!(recorder.latency_final.min() > 7_900_000);
    assert_eq!((recorder.totals.finalized, recorder.measured.finalized), (20, 10));
    assert_eq!((recorder.totals.sent, recorder.measured.sent), (20, 10));
    assert_eq!(recorder.sent_bytes, 3_600);
}

#[test]
fn codes_are_counted_and_only_last_answers_settle() {
    let mut recorder = Recorder::new(0, u64::MAX);
    let events = [
        event(AnswerKind::Accepted, 0, 0, 8),
        event(AnswerKind::Rejected, 72, 8, 2),
        event(AnswerKind::Final, 0, 0, 8),
        event(AnswerKind::Applied, 0, 0, 5),
        event(AnswerKind::Failed, 12, 5, 2),
        event(AnswerKind::Skipped, 2, 7, 1),
        event(AnswerKind::Lost, 0, 10, 4),
    ];
    assert_eq!(recorder.on_answers(1, &events, &times()), Answered { first: 10, last: 14 });
    assert_eq!(recorder.totals.settled(), 14);
    assert_eq!((recorder.codes[72], recorder.codes[12], recorder.codes[2]), (2, 2, 1));
}

#[test]
fn answers_to_what_was_never_sent_are_not_measured() {
    let mut recorder = Recorder::new(0, u64::MAX);
    recorder.on_answers(SECOND_NS, &[event(AnswerKind::Applied, 0, 25, u32::MAX)], &times());
    recorder.on_answers(SECOND_NS, &[event(AnswerKind::Applied, 0, u64::MAX - 5, 5)], &times());
    assert_eq!(recorder.latency_applied.len(), 5);
}

#[test]
fn merging_adds_everything() {
    let mut one = Recorder::new(0, u64::MAX);
    one.on_sent(5, 10, 1_800);
    one.on_answers(SECOND_NS, &[event(AnswerKind::Applied, 0, 0, 10)], &times());
    let mut two = Recorder::new(0, u64::MAX);
    two.on_sent(7, 20, 3_600);
    two.on_answers(4 * SECOND_NS, &[event(AnswerKind::Applied, 0, 0, 20)], &times());
    one.merge(&two);
    assert_eq!((one.totals.sent, one.totals.applied, one.sent_bytes), (30, 30, 5_400));
    assert_eq!(one.latency_applied.len(), 30);
    assert_eq!(one.seconds.len(), 5);
    assert_eq!((one.seconds[1].counts.applied, one.seconds[4].counts.applied), (10, 20));
    assert_eq!((one.last_sent_ns, one.last_answer_ns), (7, 4 * SECOND_NS));
}
