//! Holds headers against what was executed here: a header attests the roots of an earlier height, and they must be the own ones.
//!
//! A node that finds its own root different from a finalized header's stops before it commits anything, and says so. Roots are kept until
//! a header attests a later height, so as many are held as execution may lag behind.

use std::collections::VecDeque;

use tana_order::ExecutedRoots;
use tana_types::header::BlockHeader;

/// See the module's text.
#[derive(Debug, Clone)]
pub struct Attested {
    /// Executed heights from the last attested one on, ascending without a gap.
    roots: VecDeque<ExecutedRoots>,
}

impl Attested {
    /// Starts with roots that later headers may attest, ascending without a gap and not empty.
    pub fn new(roots: impl IntoIterator<Item = ExecutedRoots>) -> Self {
        Self { roots: roots.into_iter().collect() }
    }

    /// Notes the roots of an executed height, which is the next one.
    pub fn executed(&mut self, roots: ExecutedRoots) {
        self.roots.push_back(roots);
    }

    /// The roots of the last executed height.
    pub fn last(&self) -> Option<&ExecutedRoots> {
        self.roots.back()
    }

    /// All that later headers may attest.
    pub fn roots(&self) -> impl Iterator<Item = &ExecutedRoots> {
        self.roots.iter()
    }

    /// Checks what a header attests. What it does not need any more is forgotten.
    pub fn check(&mut self, header: &BlockHeader) -> Result<(), String> {
        while self.roots.front().is_some_and(|oldest| oldest.height < header.executed_height) {
            self.roots.pop_front();
        }
        let Some(own) = self.roots.front().filter(|roots| roots.height == header.executed_height) else {
            return Err(format!(
                "block {} attests height {}, which was not executed here before it or is below its parent's",
                header.height, header.executed_height
            ));
        };
        let same = own.state_root == header.state_root
            && own.receipts_root == header.receipts_root
            && own.validator_set_hash == header.validator_set_hash;
        if same {
            return Ok(());
        }
        Err(format!(
            "block {} attests other roots for height {} than were computed here (state root {} against {}): the node stops before it commits \
             anything more; keep the data folder and compare with the other validators",
            header.height,
            header.executed_height,
            hex::encode(header.state_root),
            hex::encode(own.state_root)
        ))
    }
}
