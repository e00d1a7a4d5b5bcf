//! The order of a connection's transactions: who sends what to whom with which nonce.
//!
//! Each connection has senders of its own (account number modulo connections), so that a sender's nonces arrive in order. Its
//! schedule follows from the plan and the connection's number alone:
//!
//! 1. what the transaction is: one draw against the plan's shares;
//! 2. the sender of whatever takes a nonce: the next of a shuffled round. In each round every sender comes once; rounds are
//!    shuffled anew as they go (one step of Fisher and Yates a draw), so no sender is far ahead of another;
//! 3. the sender of what takes none (a bad signature, a stale nonce): any of the connection's;
//! 4. the recipient: drawn uniformly or by skew from all accounts, never the sender itself.
//!
//! A transaction with a bad signature carries its sender's next nonce and leaves it free: the real one comes later.

use crate::plan::LoadPlan;
use crate::random::Random;
use crate::zipf::Sampler;

/// What a transaction is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// A transfer that should succeed.
    Transfer,
    /// A transfer whose signature is broken.
    BadSignature,
    /// A copy of one just before.
    Duplicate,
    /// A transfer of more than there is.
    Unfunded,
    /// A transfer whose nonce was used before.
    StaleNonce,
    /// A new account; `sender` is its number among all new accounts.
    Creation,
}

/// One transaction of a schedule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Planned {
    /// What it is for.
    pub purpose: Purpose,
    /// The sender, counted from the plan's first account.
    pub sender: u32,
    /// The recipient, counted from the plan's first account.
    pub recipient: u32,
    /// Its nonce.
    pub nonce: u64,
}

/// The transactions of one connection, one after the other.
#[derive(Debug)]
pub struct Schedule<'a> {
    sampler: &'a Sampler,
    random: Random,
    connection: u32,
    connections: u32,
    accounts: u32,
    start_nonce: u64,
    /// Upper bounds of the purposes' shares out of 2^64, in the order of [`PURPOSES`].
    thresholds: [u64; 5],
    /// The connection's senders, as positions `sender / connections`; those before `position` have had their turn.
    order: Vec<u32>,
    position: usize,
    /// Nonces used here, per position.
    used: Vec<u32>,
    creations: u32,
}

const PURPOSES: [Purpose; 5] =
    [Purpose::BadSignature, Purpose::Duplicate, Purpose::Unfunded, Purpose::StaleNonce, Purpose::Creation];

impl<'a> Schedule<'a> {
    /// The schedule of connection `connection` of a checked plan; `sampler` draws recipients below `plan.accounts`.
    pub fn new(plan: &LoadPlan, connection: u32, sampler: &'a Sampler) -> Self {
        let senders = plan.accounts / plan.connections + u32::from(connection < plan.accounts % plan.connections);
        let shares = plan.shares;
        let mut thresholds = [0; 5];
        let mut sum = 0.0;
        let given = [shares.bad_signatures, shares.duplicates, shares.unfunded, shares.stale_nonces, shares.creations];
        for (threshold, share) in thresholds.iter_mut().zip(given) {
            sum += share;
            // A float too large for the integer becomes its largest value, so a sum of 1 leaves no plain transfer.
            *threshold = (sum * 18_446_744_073_709_551_616.0) as u64;
        }
        Self {
            sampler,
            random: Random::new(&plan.seed, "schedule", u64::from(connection)),
            connection,
            connections: plan.connections,
            accounts: plan.accounts,
            start_nonce: plan.start_nonce,
            thresholds,
            order: (0..senders).collect(),
            position: 0,
            used: vec![0; senders as usize],
            creations: 0,
        }
    }

    /// The next transaction; there is always one.
    pub fn draw(&mut self) -> Planned {
        let purpose = self.draw_purpose();
        let (sender, nonce) = match purpose {
            Purpose::Transfer | Purpose::Unfunded => {
                let position = self.next_of_round();
                self.used[position] += 1;
                (self.sender(position), self.nonce_used(position))
            }
            Purpose::BadSignature => {
                let position = self.any();
                (self.sender(position), self.nonce_used(position) + 1)
            }
            Purpose::StaleNonce | Purpose::Duplicate => {
                let position = self.any();
                (self.sender(position), self.nonce_used(position))
            }
            Purpose::Creation => {
                let number = self.creations.wrapping_mul(self.connections).wrapping_add(self.connection);
                self.creations = self.creations.wrapping_add(1);
                return Planned { purpose, sender: number, recipient: 0, nonce: 0 };
            }
        };
        let mut recipient = self.sampler.draw(&mut self.random);
        if recipient == sender {
            recipient = (recipient + 1) % self.accounts;
        }
        Planned { purpose, sender, recipient, nonce }
    }

    #[inline]
    fn draw_purpose(&mut self) -> Purpose {
        if self.thresholds[4] == 0 {
            return Purpose::Transfer;
        }
        let bits = self.random.next_u64();
        let found = self.thresholds.iter().position(|&threshold| bits < threshold);
        found.map_or(Purpose::Transfer, |index| PURPOSES[index])
    }

    fn next_of_round(&mut self) -> usize {
        if self.position == self.order.len() {
            self.position = 0;
        }
        let left = (self.order.len() - self.position) as u32;
        let other = self.position + self.random.below(left) as usize;
        self.order.swap(self.position, other);
        self.position += 1;
        self.order[self.position - 1] as usize
    }

    fn any(&mut self) -> usize {
        self.random.below(self.order.len() as u32) as usize
    }

    fn sender(&self, position: usize) -> u32 {
        position as u32 * self.connections + self.connection
    }

    /// The last nonce that the sender at `position` has used.
    fn nonce_used(&self, position: usize) -> u64 {
        self.start_nonce + u64::from(self.used[position])
    }
}

#[cfg(test)]
#[path = "schedule_tests.rs"]
mod tests;
