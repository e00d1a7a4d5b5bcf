//! Whether this node may take transactions in: only as a validator of the next block's epoch or the one after it.
//!
//! Blocks list batches by their author's place in the validator set. What a node outside of it took in would wait for a block that never
//! comes, so admission refuses it with a code that says where else to go. The set of the next block's epoch and that of the epoch after it
//! are fixed by every executed state, and a batch lives long enough to wait for the latter. Looked at after each executed block, which costs
//! a look at two sets only where an epoch begins or ends.

use std::sync::Arc;

use tana_execute::State;
use tana_ingest::Admission;

/// See the module's text.
pub struct Membership {
    own: [u8; 32],
    admission: Arc<Admission>,
    /// The epoch of the next block when the sets were looked at last.
    looked: Option<u64>,
}

impl Membership {
    /// The membership of the validator with this key, and the admission that hears of it.
    pub fn new(own: [u8; 32], admission: Arc<Admission>) -> Self {
        Self { own, admission, looked: None }
    }

    /// Hears of the state behind an executed block, or of that which a node starts with.
    pub fn executed(&mut self, state: &State) {
        let next = state.epoch_of(state.progress().height.saturating_add(1));
        if self.looked.replace(next) == Some(next) {
            return;
        }
        let holds = |epoch: u64| state.validators(epoch).iter().any(|member| member.key.0 == self.own);
        let validating = holds(next) || holds(next.saturating_add(1));
        if validating != self.admission.is_validating() {
            tracing::info!(
                epoch = next,
                validating,
                "whether this node takes transactions has changed with the validator set"
            );
        }
        self.admission.set_validating(validating);
    }
}

#[cfg(test)]
mod tests {
    use tana_ingest::AdmissionConfig;
    use tana_types::key::PublicKey;
    use tana_types::payload::Payload;

    use super::*;
    use crate::sync::tests::world::{EPOCH_BLOCKS, World, sovereign, validator};

    #[test]
    fn a_node_takes_transactions_from_the_epoch_before_its_own_to_the_end_of_its_last() {
        let folder = tempfile::tempdir().unwrap();
        let mut world = World::new(folder.path(), 50);
        let of = |number: u8| {
            let directory = world.replayer.accounts.clone();
            let (chain, rules) = (world.genesis.to_chain(), world.genesis.rules.clone());
            let admission = Admission::new(&AdmissionConfig::with_seeds([1; 4]), &chain, &rules, directory).unwrap();
            Membership::new(validator(number), Arc::new(admission))
        };
        let (mut newcomer, mut leaver, mut stranger) = (of(9), of(0), of(7));
        let add = Payload::ValidatorSetChange {
            add: true,
            validator: PublicKey(validator(9)),
            epoch: 3,
            address: "127.0.0.1:9990",
        };
        let remove =
            Payload::ValidatorSetChange { add: false, validator: PublicKey(validator(0)), epoch: 5, address: "" };
        let transactions = vec![world.signed(&sovereign(), &add), world.signed(&sovereign(), &remove)];
        for height in 0..=6 * EPOCH_BLOCKS {
            match height {
                0 => {}
                3 => world.step(transactions.clone()),
                _ => world.step(Vec::new()),
            }
            for (membership, name) in [(&mut newcomer, "9"), (&mut leaver, "0"), (&mut stranger, "7")] {
                membership.executed(world.state());
                let expected = match name {
                    "9" => height >= 2 * EPOCH_BLOCKS,
                    "0" => height < 5 * EPOCH_BLOCKS,
                    _ => false,
                };
                assert_eq!(membership.admission.is_validating(), expected, "validator {name} behind height {height}");
            }
        }
    }
}
