//! Whether anybody looks: as long as nobody does, validators are only asked now and then whether they are well.

use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::watch;

/// How long interest lasts after the last one looked, so that a page that is loaded again finds everything as it was.
pub const LINGER: Duration = Duration::from_secs(10);

/// Who looks, and since when nobody does.
#[derive(Debug)]
pub struct Interest {
    looked: Mutex<Looked>,
    told: watch::Sender<bool>,
}

#[derive(Debug)]
struct Looked {
    clients: usize,
    last: Option<Instant>,
}

impl Default for Interest {
    fn default() -> Self {
        Self { looked: Mutex::new(Looked { clients: 0, last: None }), told: watch::Sender::new(false) }
    }
}

impl Interest {
    /// Somebody looks for a moment.
    pub fn touch(&self) {
        self.looked.lock().last = Some(Instant::now());
        self.tell(true);
    }

    /// Somebody looks from now on, until this is dropped.
    pub fn client(self: &std::sync::Arc<Self>) -> Looking {
        self.looked.lock().clients += 1;
        self.touch();
        Looking { interest: self.clone() }
    }

    /// How many look.
    pub fn clients(&self) -> usize {
        self.looked.lock().clients
    }

    /// Interest ends here when nobody looked for [`LINGER`].
    pub fn check(&self) {
        let looked = self.looked.lock();
        let recent = looked.last.is_some_and(|last| last.elapsed() < LINGER);
        let wanted = looked.clients > 0 || recent;
        drop(looked);
        self.tell(wanted);
    }

    /// Follows whether anybody looks.
    pub fn follow(&self) -> watch::Receiver<bool> {
        self.told.subscribe()
    }

    fn tell(&self, wanted: bool) {
        self.told.send_if_modified(|told| std::mem::replace(told, wanted) != wanted);
    }
}

/// One that looks.
#[derive(Debug)]
pub struct Looking {
    interest: std::sync::Arc<Interest>,
}

impl Drop for Looking {
    fn drop(&mut self) {
        let mut looked = self.interest.looked.lock();
        looked.clients -= 1;
        looked.last = Some(Instant::now());
    }
}
