//! `GET /quorum/HASH`: from memory at once; from the log one at a time, with a pause behind each that keeps it a small part of a core.

use std::sync::Arc;
use std::time::{Duration, Instant};

use hyper::StatusCode;
use parking_lot::Mutex;
use tana_types::Hash;

use super::answer::{Answer, Problem, json};
use super::view::{NodeView, QuorumError, QuorumView};

/// How long a look into the log may take.
pub const LOOK_UP_TIME: Duration = Duration::from_secs(1);
/// The pause behind a look, in its own lengths.
const PAUSE: u32 = 4;

/// Who may look into the log, and when.
#[derive(Debug, Default)]
enum Turn {
    #[default]
    Free,
    Taken,
    FreeAt(Instant),
}

/// Looks into the log one after the other. Clones share.
#[derive(Debug, Clone, Default)]
pub struct LookUps {
    turn: Arc<Mutex<Turn>>,
}

/// A look that is under way; dropping it ends it.
struct Look {
    turn: Arc<Mutex<Turn>>,
    begun: Instant,
}

impl LookUps {
    fn begin(&self) -> Result<Look, Problem> {
        let (now, too_many) = (Instant::now(), "the log is looked into one at a time; ask again in a moment");
        let mut turn = self.turn.lock();
        let wait = match *turn {
            Turn::Free => None,
            Turn::Taken => Some(LOOK_UP_TIME),
            Turn::FreeAt(at) => at.checked_duration_since(now).filter(|wait| !wait.is_zero()),
        };
        if let Some(wait) = wait {
            return Err(Problem::new(StatusCode::TOO_MANY_REQUESTS, "too_many", too_many).retry_after(wait));
        }
        *turn = Turn::Taken;
        Ok(Look { turn: self.turn.clone(), begun: now })
    }
}

impl Drop for Look {
    fn drop(&mut self) {
        *self.turn.lock() = Turn::FreeAt(Instant::now() + self.begun.elapsed() * PAUSE);
    }
}

/// Answers; `hash` is the rest of the path, `query` what stands behind the question mark.
pub async fn answer(hash: &str, query: Option<&str>, view: &Arc<dyn NodeView>, look_ups: &LookUps) -> Answer {
    match find(hash, query, view, look_ups).await {
        Ok(quorum) => json(StatusCode::OK, &quorum),
        Err(problem) => problem.into(),
    }
}

async fn find(
    hash: &str,
    query: Option<&str>,
    view: &Arc<dyn NodeView>,
    look_ups: &LookUps,
) -> Result<QuorumView, Problem> {
    let mut block: Hash = [0; 32];
    let malformed = || Problem::new(StatusCode::BAD_REQUEST, "bad_hash", "a block's hash has 64 hexadecimal digits");
    hex::decode_to_slice(hash, &mut block).map_err(|_| malformed())?;
    let height = height(query)?;
    match view.quorum_seen(&block) {
        None => look_up(block, height, view, look_ups).await,
        // What a restart finds in the journal of votes has no height; the log knows it, if it may be asked now.
        Some(seen) if seen.is_final && seen.height == 0 => {
            Ok(look_up(block, height, view, look_ups).await.unwrap_or(seen))
        }
        Some(seen) => Ok(seen),
    }
}

async fn look_up(
    block: Hash,
    height: Option<u64>,
    view: &Arc<dyn NodeView>,
    look_ups: &LookUps,
) -> Result<QuorumView, Problem> {
    let look = look_ups.begin()?;
    let view = view.clone();
    let found = tokio::task::spawn_blocking(move || {
        let found = view.quorum_logged(&block, height, Instant::now() + LOOK_UP_TIME);
        drop(look);
        found
    });
    let found = found.await.map_err(|_| {
        Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "failed", "the look-up ended by a defect; please report it")
    })?;
    found.map_err(problem)
}

fn problem(error: QuorumError) -> Problem {
    match error {
        QuorumError::Unknown => {
            Problem::new(StatusCode::NOT_FOUND, "unknown_block", "no block that is known here has this hash")
        }
        QuorumError::NoCertificate => Problem::new(
            StatusCode::NOT_FOUND,
            "no_certificate",
            "the block is final, but no certificate at its height or above is kept here yet",
        ),
        QuorumError::TimeOver => Problem::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "look_up_too_long",
            "the block was not found within a second; name its height with ?height=",
        ),
        QuorumError::Unreadable(reason) => {
            tracing::warn!(reason, "the log cannot be read for a look-up");
            Problem::new(StatusCode::SERVICE_UNAVAILABLE, "busy", "the log cannot be read at this moment; ask again")
        }
    }
}

/// The height in `height=H`, the one parameter that there is.
fn height(query: Option<&str>) -> Result<Option<u64>, Problem> {
    let Some(query) = query.filter(|query| !query.is_empty()) else { return Ok(None) };
    let height = query.strip_prefix("height=").and_then(|height| height.parse().ok()).filter(|height| *height > 0);
    height.map(Some).ok_or_else(|| {
        Problem::new(
            StatusCode::BAD_REQUEST,
            "bad_height",
            "the one parameter is ?height= and a block's height, from 1 on",
        )
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_height_is_a_number_from_one_on() {
        assert_eq!(height(None), Ok(None));
        assert_eq!(height(Some("")), Ok(None));
        assert_eq!(height(Some("height=7")), Ok(Some(7)));
        for query in ["height=0", "height=-1", "height=", "height=1&height=2", "h=1", "height=99999999999999999999"] {
            assert!(height(Some(query)).is_err(), "{query}");
        }
    }

    #[test]
    fn looks_come_one_at_a_time_with_a_pause_between() {
        let look_ups = LookUps::default();
        let look = look_ups.begin().unwrap();
        assert!(look_ups.begin().is_err());
        drop(look);
        // The pause is as long as the look was, times four; it ends.
        while look_ups.begin().is_err() {
            std::thread::yield_now();
        }
        *look_ups.turn.lock() = Turn::FreeAt(Instant::now() + Duration::from_secs(9));
        assert!(look_ups.begin().is_err());
    }
}
