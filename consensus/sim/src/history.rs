//! What happened in a simulation, as a digest of every event, and as lines for people who ask for them.

use tana_types::Hash;

/// See the module's text.
pub struct History {
    hasher: blake3::Hasher,
    events: u64,
    proofs: u64,
    printed: bool,
}

impl History {
    /// An empty history; with `printed` every event goes to the error output as a line.
    pub fn new(printed: bool) -> Self {
        Self { hasher: blake3::Hasher::new(), events: 0, proofs: 0, printed }
    }

    /// Notes an event.
    pub fn note(&mut self, now_us: u64, text: impl FnOnce() -> String) {
        let text = text();
        if self.printed {
            eprintln!("{:>10.3} ms  {text}", now_us as f64 / 1_000.0);
        }
        self.events += 1;
        self.hasher.update(&now_us.to_le_bytes()).update(&(text.len() as u64).to_le_bytes()).update(text.as_bytes());
    }

    /// Counts a proof against a validator.
    pub fn count_proof(&mut self) {
        self.proofs += 1;
    }

    /// Proofs that honest nodes had.
    pub fn proofs(&self) -> u64 {
        self.proofs
    }

    /// Events so far.
    pub fn events(&self) -> u64 {
        self.events
    }

    /// The digest of all of them.
    pub fn digest(&self) -> Hash {
        *self.hasher.finalize().as_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::History;

    #[test]
    fn every_part_of_an_event_counts() {
        let digest = |events: &[(u64, &str)]| {
            let mut history = History::new(false);
            for (now_us, text) in events {
                history.note(*now_us, || (*text).to_owned());
            }
            history.digest()
        };
        let base = digest(&[(1, "a"), (2, "b")]);
        assert_eq!(base, digest(&[(1, "a"), (2, "b")]));
        for other in [vec![(1, "a"), (3, "b")], vec![(2, "b"), (1, "a")], vec![(1, "ab"), (2, "")], vec![(1, "a")]] {
            assert_ne!(base, digest(&other));
        }
    }
}
