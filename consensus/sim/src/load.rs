//! Clients: accounts that keep sending transfers, and a sovereign that changes the validator set.
//!
//! A client sends its transfers in order of nonce to one validator, a few ahead of what that validator has executed. When nothing moves
//! for a while (the validator is down, cut off, withholds, or lost what it had not made durable) the client goes to another one and
//! sends the same bytes there: so transactions travel through two lanes and must take effect once. Some are sent twice from the start.
//!
//! Transactions are signed once per process and seedless: the same account, nonce and recipient give the same bytes in every seed that
//! uses them, but which account pays whom, when and through whom follows from the seed.

use std::sync::Arc;

use tana_types::key::PublicKey;
use tana_types::payload::Payload;
use tana_types::transaction::sign;

use crate::chain::{SimChain, address};
use tana_sim_network::dice::Dice;

/// Transfers of one client that are under way at a time.
const AHEAD: u64 = 4;
/// How long a client waits for its validator before it goes to another, microseconds.
const PATIENCE_US: u64 = 3_000_000;
/// How often the sovereign goes on although nothing was executed, microseconds.
const SOVEREIGN_PATIENCE_US: u64 = 2_000_000;

/// A change of the validator set that the sovereign makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SetChange {
    /// When it is sent, microseconds.
    pub at_us: u64,
    /// Whether the validator is added.
    pub add: bool,
    /// Which.
    pub validator: usize,
    /// How many epochs after the running one it holds.
    pub epochs_ahead: u64,
}

/// What clients see of the validators.
pub trait Validators {
    /// The last nonce of an account that this validator has executed; none while it is down.
    fn nonce(&self, validator: usize, account: &PublicKey) -> Option<u64>;
    /// The running epoch as this validator executed it; none while it is down.
    fn epoch(&self, validator: usize) -> Option<u64>;
    /// Offers a transaction; false when it is sent away.
    fn submit(&mut self, validator: usize, transaction: &[u8]) -> bool;
}

/// One account's client.
struct Client {
    account: usize,
    validator: usize,
    /// The signed transactions by nonce, from 1.
    signed: Vec<Vec<u8>>,
    sent: u64,
    confirmed: u64,
    /// Whether the validator sent the last offer away.
    refused: bool,
    moved_us: u64,
    next_us: u64,
    pause_us: u64,
}

/// See the module's text.
pub struct Load {
    chain: Arc<SimChain>,
    dice: Dice,
    clients: Vec<Client>,
    changes: Vec<SetChange>,
    sovereign: Client,
    /// Copies that are sent to a second validator at once, of 1,000.
    doubled_per_mille: u64,
    submitted: u64,
}

/// How much is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LoadNumbers {
    /// Accounts that send.
    pub clients: usize,
    /// The mean time between two transfers of one, microseconds.
    pub pause_us: u64,
    /// Copies that are sent to a second validator at once, of 1,000.
    pub doubled_per_mille: u64,
}

impl Load {
    /// The clients of a seed.
    pub fn new(chain: &Arc<SimChain>, seed: u64, numbers: LoadNumbers, changes: Vec<SetChange>) -> Self {
        let mut dice = Dice::new(seed, "load");
        let validators = chain.numbers.validators;
        let client = |account, validator, pause_us| Client {
            account,
            validator,
            signed: Vec::new(),
            sent: 0,
            confirmed: 0,
            refused: false,
            moved_us: 0,
            next_us: 0,
            pause_us,
        };
        let clients = (0..numbers.clients.min(chain.accounts.len()))
            .map(|account| client(account, dice.place(validators), numbers.pause_us))
            .collect();
        Self {
            chain: chain.clone(),
            clients,
            changes,
            sovereign: client(usize::MAX, 0, 0),
            doubled_per_mille: numbers.doubled_per_mille,
            dice,
            submitted: 0,
        }
    }

    /// Transactions handed to validators, copies included.
    pub fn submitted(&self) -> u64 {
        self.submitted
    }

    /// The highest nonce that a validator has confirmed to each client, added up: what has been applied.
    pub fn confirmed(&self) -> u64 {
        self.clients.iter().map(|client| client.confirmed).sum()
    }

    /// Sends what is due. `clock_ms` is the clients' wall clock.
    pub fn step(&mut self, now_us: u64, clock_ms: u64, validators: &mut impl Validators) {
        for place in 0..self.clients.len() {
            self.step_client(place, now_us, clock_ms, validators);
        }
        self.step_sovereign(now_us, clock_ms, validators);
    }

    fn step_client(&mut self, place: usize, now_us: u64, clock_ms: u64, validators: &mut impl Validators) {
        let count = self.chain.numbers.validators;
        let client = &mut self.clients[place];
        let key = &self.chain.accounts[client.account];
        let public = PublicKey(key.verifying_key().to_bytes());
        let executed = validators.nonce(client.validator, &public);
        if let Some(nonce) = executed.filter(|nonce| *nonce > client.confirmed) {
            (client.confirmed, client.moved_us) = (nonce, now_us);
        }
        if client.sent == client.confirmed && !client.refused {
            client.moved_us = now_us;
        }
        if now_us.saturating_sub(client.moved_us) > PATIENCE_US {
            // To another validator, from what is known to be applied on.
            client.validator = (client.validator + 1 + self.dice.place(count.saturating_sub(1).max(1))) % count;
            (client.sent, client.moved_us, client.refused) = (client.confirmed, now_us, false);
        }
        if now_us < client.next_us || client.sent >= client.confirmed + AHEAD {
            return;
        }
        client.next_us = now_us + self.dice.between(client.pause_us / 2, client.pause_us * 3 / 2);
        let nonce = client.sent + 1;
        if client.signed.len() < nonce as usize {
            let mut recipient = self.dice.place(self.chain.accounts.len());
            if recipient == client.account {
                recipient = (recipient + 1) % self.chain.accounts.len();
            }
            let payload = Payload::Transfer {
                recipient: PublicKey(self.chain.accounts[recipient].verifying_key().to_bytes()),
                currency: self.chain.currency,
                amount: u128::from(self.dice.between(1, 5_000)),
            };
            // A transfer of a positive amount in a currency that exists can always be encoded.
            let Ok(bytes) = sign(&self.chain.chain, key, nonce, clock_ms, &payload) else { return };
            client.signed.push(bytes);
        }
        let Some(bytes) = client.signed.get(nonce as usize - 1) else { return };
        client.refused = !validators.submit(client.validator, bytes);
        if !client.refused {
            client.sent = nonce;
            self.submitted += 1;
            if self.dice.chance(self.doubled_per_mille) {
                self.submitted += u64::from(validators.submit(self.dice.place(count), bytes));
            }
        }
    }

    /// Sends the next due change of the set, again and again until some validator has executed it.
    fn step_sovereign(&mut self, now_us: u64, clock_ms: u64, validators: &mut impl Validators) {
        let public = PublicKey(self.chain.sovereign.verifying_key().to_bytes());
        let count = self.chain.numbers.validators;
        let nonce = (0..count).filter_map(|validator| validators.nonce(validator, &public)).max();
        self.sovereign.confirmed = self.sovereign.confirmed.max(nonce.unwrap_or(0));
        let next = self.sovereign.confirmed;
        let Some(change) = self.changes.get(next as usize).copied().filter(|change| change.at_us <= now_us) else {
            return;
        };
        if now_us < self.sovereign.next_us {
            return;
        }
        self.sovereign.next_us = now_us + SOVEREIGN_PATIENCE_US;
        let Some(epoch) = (0..count).filter_map(|validator| validators.epoch(validator)).max() else { return };
        let text = if change.add { address(change.validator) } else { String::new() };
        let payload = Payload::ValidatorSetChange {
            add: change.add,
            validator: PublicKey(self.chain.public(change.validator)),
            epoch: epoch + change.epochs_ahead,
            address: &text,
        };
        let Ok(bytes) = sign(&self.chain.chain, &self.chain.sovereign, next + 1, clock_ms, &payload) else { return };
        for validator in 0..count {
            self.submitted += u64::from(validators.submit(validator, &bytes));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use tana_types::transaction::Transaction;

    use super::*;
    use crate::chain::{ChainNumbers, START_MS};

    /// Validators that execute at once, but for one that is down.
    #[derive(Default)]
    struct Fake {
        nonces: BTreeMap<[u8; 32], u64>,
        down: Option<usize>,
        got: Vec<(usize, Vec<u8>)>,
    }

    impl Validators for Fake {
        fn nonce(&self, validator: usize, account: &PublicKey) -> Option<u64> {
            (Some(validator) != self.down).then(|| self.nonces.get(&account.0).copied().unwrap_or(0))
        }

        fn epoch(&self, _validator: usize) -> Option<u64> {
            Some(3)
        }

        fn submit(&mut self, validator: usize, transaction: &[u8]) -> bool {
            if Some(validator) == self.down {
                return false;
            }
            self.got.push((validator, transaction.to_vec()));
            let header = Transaction::exactly(transaction).unwrap().header();
            let nonce = self.nonces.entry(header.sender).or_default();
            if header.nonce.get() == *nonce + 1 {
                *nonce += 1;
            }
            true
        }
    }

    fn chain() -> Arc<SimChain> {
        let numbers = ChainNumbers { validators: 4, spare: 1, epoch_blocks: 10, lag_blocks_max: 8, expiry_blocks: 40 };
        Arc::new(SimChain::new(numbers).unwrap())
    }

    fn run(down: Option<usize>, changes: Vec<SetChange>) -> (Load, Fake) {
        let numbers = LoadNumbers { clients: 6, pause_us: 200_000, doubled_per_mille: 200 };
        let (mut load, mut fake) = (Load::new(&chain(), 5, numbers, changes), Fake { down, ..Fake::default() });
        for step in 0..1_000u64 {
            load.step(step * 20_000, START_MS + step * 20, &mut fake);
        }
        (load, fake)
    }

    #[test]
    fn clients_send_in_order_and_the_same_bytes_again() {
        let (load, fake) = run(None, Vec::new());
        assert!(load.confirmed() > 300, "{} confirmed", load.confirmed());
        let mut bytes = BTreeMap::new();
        let mut copies = 0;
        for (_, transaction) in &fake.got {
            let header = Transaction::exactly(transaction).unwrap().header();
            let known = bytes.entry((header.sender, header.nonce.get())).or_insert_with(|| transaction.clone());
            assert_eq!(known, transaction, "one nonce, two transactions");
            copies += 1;
        }
        assert!(copies > bytes.len(), "nothing was sent twice");
    }

    #[test]
    fn clients_leave_a_validator_that_is_down() {
        let (load, fake) = run(Some(2), Vec::new());
        assert!(load.clients.iter().all(|client| client.confirmed > 0 && client.validator != 2));
        assert!(fake.got.iter().all(|(validator, _)| *validator != 2));
    }

    #[test]
    fn the_sovereign_changes_the_set() {
        let change = SetChange { at_us: 1_000_000, add: true, validator: 4, epochs_ahead: 2 };
        let (_, fake) = run(None, vec![change]);
        let sent = (fake.got.iter()).filter(|(_, bytes)| bytes[1] == 11).count();
        assert_eq!(sent, 4, "sent to each validator once");
    }
}
