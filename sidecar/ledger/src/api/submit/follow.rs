//! What is known of transactions that were handed to the node: one state each, filled in by answers, waited for by a request.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tana_net::{AnswerEvent, AnswerKind};
use tokio::sync::Notify;
use tokio::time::Instant;

/// How far a transaction has come. Later ones say more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// Not handed to the node yet.
    Waiting,
    /// Handed to the node, which has said nothing.
    Sent,
    /// Passed the node's admission and signature check. No promise.
    Accepted,
    /// In a finalized block.
    Final,
    /// Ended: see [`Fate::end`].
    Ended,
}

/// How a transaction ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// Executed with success, and committed.
    Applied,
    /// Executed without effect, and committed.
    Failed,
    /// In a block, but passed over.
    Skipped,
    /// Refused by the node.
    Rejected,
}

/// What is known of one transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fate {
    /// How far it has come.
    pub stage: Stage,
    /// How it ended, once it has.
    pub end: Option<End>,
    /// The code of its end; 0 is applied.
    pub code: u8,
    /// Its block and its place in it, once it is final.
    pub place: Option<(u64, u64)>,
}

/// What a request waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Until {
    /// The node took it.
    Accepted,
    /// It is in a finalized block.
    Final,
    /// It has ended.
    #[default]
    Applied,
}

impl Fate {
    /// Whether a request that waits for `until` has its answer.
    pub fn satisfies(&self, until: Until) -> bool {
        self.stage
            >= match until {
                Until::Accepted => Stage::Accepted,
                Until::Final => Stage::Final,
                Until::Applied => Stage::Ended,
            }
    }
}

/// The transactions of one request.
#[derive(Debug)]
pub struct Followed {
    fates: Mutex<Vec<Fate>>,
    changed: Notify,
    abandoned: AtomicBool,
    /// The sequence of the first of them on its stream, once they are on one.
    first: OnceLock<u64>,
    trouble: Mutex<Option<String>>,
}

impl Followed {
    /// So many transactions that wait to be handed over.
    pub fn new(count: usize) -> Self {
        let fate = Fate { stage: Stage::Waiting, end: None, code: 0, place: None };
        Self {
            fates: Mutex::new(vec![fate; count]),
            changed: Notify::new(),
            abandoned: AtomicBool::new(false),
            first: OnceLock::new(),
            trouble: Mutex::new(None),
        }
    }

    /// How many there are.
    pub fn count(&self) -> u64 {
        self.fates.lock().len() as u64
    }

    /// What is known by now.
    pub fn fates(&self) -> Vec<Fate> {
        self.fates.lock().clone()
    }

    /// Says that nobody waits any more.
    pub fn abandon(&self) {
        self.abandoned.store(true, Ordering::Relaxed);
    }

    /// Whether nobody waits any more.
    pub fn is_abandoned(&self) -> bool {
        self.abandoned.load(Ordering::Relaxed)
    }

    /// The sequence of the first of them, once they are on a stream.
    pub fn first(&self) -> Option<u64> {
        self.first.get().copied()
    }

    /// Notes that all of them are on their way to the node, from this sequence on.
    pub fn sent(&self, first: u64) {
        // They go onto one stream, once.
        let _ = self.first.set(first);
        for fate in self.fates.lock().iter_mut() {
            fate.stage = fate.stage.max(Stage::Sent);
        }
    }

    /// Notes that nothing more will be heard: the node cannot be reached, or its answers were lost.
    pub fn give_up(&self, why: String) {
        *self.trouble.lock() = Some(why);
        self.changed.notify_waiters();
    }

    /// Why nothing more will be heard, if so.
    pub fn trouble(&self) -> Option<String> {
        self.trouble.lock().clone()
    }

    /// Takes an answer; the first of these transactions has the sequence `first` on its stream.
    pub fn note(&self, event: &AnswerEvent, first: u64) {
        let mut fates = self.fates.lock();
        let begin = event.first.saturating_sub(first);
        let end = (event.first + u64::from(event.count)).saturating_sub(first).min(fates.len() as u64);
        for offset in begin..end {
            let fate = &mut fates[offset as usize];
            if event.height > 0 {
                fate.place = Some((event.height, event.index.saturating_add(first + offset - event.first)));
            }
            let (stage, end) = match event.kind {
                AnswerKind::Accepted => (Stage::Accepted, None),
                AnswerKind::Final => (Stage::Final, None),
                AnswerKind::Applied => (Stage::Ended, Some(End::Applied)),
                AnswerKind::Failed => (Stage::Ended, Some(End::Failed)),
                AnswerKind::Skipped => (Stage::Ended, Some(End::Skipped)),
                AnswerKind::Rejected => (Stage::Ended, Some(End::Rejected)),
                AnswerKind::Lost => continue,
            };
            fate.stage = fate.stage.max(stage);
            if end.is_some() {
                fate.end = end;
                fate.code = event.code;
            }
        }
        drop(fates);
        self.changed.notify_waiters();
    }

    /// Waits until all of them satisfy `until`, until nothing more will be heard, or for `time`.
    pub async fn wait(&self, until: Until, time: Duration) {
        let deadline = Instant::now() + time;
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            // Registered before the look, so that no change falls in between.
            changed.as_mut().enable();
            if self.trouble().is_some() || self.fates.lock().iter().all(|fate| fate.satisfies(until)) {
                return;
            }
            if tokio::time::timeout_at(deadline, changed).await.is_err() {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(kind: AnswerKind, code: u8, first: u64, count: u32, height: u64, index: u64) -> AnswerEvent {
        AnswerEvent { kind, code, count, first, height, index }
    }

    #[test]
    fn runs_that_begin_before_and_end_behind_are_cut_and_places_follow() {
        let followed = Followed::new(3);
        followed.sent(10);
        followed.note(&event(AnswerKind::Final, 0, 8, 10, 5, 100), 10);
        let fates = followed.fates();
        assert_eq!(
            fates.iter().map(|fate| fate.place).collect::<Vec<_>>(),
            [Some((5, 102)), Some((5, 103)), Some((5, 104))]
        );
        followed.note(&event(AnswerKind::Failed, 12, 11, 1, 5, 103), 10);
        let fates = followed.fates();
        assert_eq!((fates[1].end, fates[1].code, fates[1].stage), (Some(End::Failed), 12, Stage::Ended));
        assert_eq!((fates[0].end, fates[2].stage), (None, Stage::Final));
        followed.note(&event(AnswerKind::Applied, 0, 13, 4, 5, 0), 10);
        assert_eq!(followed.fates()[2].end, None, "a run behind the last one is none of ours");
    }

    #[test]
    fn an_early_answer_never_takes_back_a_later_one() {
        let followed = Followed::new(1);
        followed.note(&event(AnswerKind::Applied, 0, 0, 1, 5, 0), 0);
        followed.note(&event(AnswerKind::Accepted, 0, 0, 1, 0, u64::MAX), 0);
        assert_eq!(followed.fates()[0].end, Some(End::Applied));
        assert!(followed.fates()[0].satisfies(Until::Applied));
    }

    #[tokio::test(start_paused = true)]
    async fn waiting_ends_with_the_last_answer_with_trouble_or_with_the_time() {
        let followed = std::sync::Arc::new(Followed::new(2));
        let waiter = followed.clone();
        let waiting = tokio::spawn(async move { waiter.wait(Until::Final, Duration::from_secs(3_600)).await });
        followed.note(&event(AnswerKind::Final, 0, 0, 1, 5, 0), 0);
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        followed.note(&event(AnswerKind::Applied, 0, 1, 1, 5, 1), 0);
        waiting.await.unwrap();
        let begun = Instant::now();
        followed.wait(Until::Applied, Duration::from_secs(7)).await;
        assert_eq!(begun.elapsed(), Duration::from_secs(7));
        followed.give_up("gone".to_owned());
        followed.wait(Until::Applied, Duration::from_secs(7)).await;
        assert_eq!(begun.elapsed(), Duration::from_secs(7));
    }
}
