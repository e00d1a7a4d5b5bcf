//! The wall clock as a value that is handed in, so that rules about time can be tested at any time.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

/// Milliseconds since 1970-01-01T00:00:00Z whenever it is called.
pub type Clock = Arc<dyn Fn() -> u64 + Send + Sync>;

/// The system's clock; 0 if that stands before 1970.
pub fn system() -> Clock {
    Arc::new(|| {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    })
}
