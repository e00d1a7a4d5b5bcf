//! The state and its tree beside a real execution: what commit records say must be all that is needed to know what execution knows.

#![allow(clippy::unwrap_used)]

mod reads;

use std::collections::BTreeMap;

use tana_accounts::directory;
use tana_commit::{CommitParts, CommitRecord};
use tana_engine::sync::CertificateVerifier;
use tana_engine::sync::proof::{FinalChain, SetStep, TrustedSet};
use tana_execute::{FollowedSections, MetaSections, Outcome, PAGE_RECORDS, State as Execution};
use tana_root::{AccountTree, LeafChanges};
use tana_types::account::{NO_ACCOUNT, RECORD_BYTES, SENTINEL};
use tana_types::batch::{Batch, Origin};
use tana_types::code::Code;
use tana_types::currency::{CurrencyInfo, CurrencyType};
use tana_types::genesis::Genesis;
use tana_types::header::{BlockHeader, LaneBatches};
use tana_types::key::PublicKey;
use tana_types::payload::{Payload, Role};
use tana_types::state::StateSections;
use tana_types::transaction::{Transaction, TransactionHeader};
use zerocopy::IntoBytes;
use zerocopy::little_endian::{U16, U32, U64};

use super::accounts::{Accounts, LoadedAccounts};
use super::proof::set_of_epoch;
use super::state::State;
use super::tree::{ProofTree, TreeProof};

const NOW: u64 = 1_730_592_000_000;

fn key(number: u32) -> PublicKey {
    PublicKey(tana_hash::hash(&number.to_le_bytes()))
}

fn validator_key(number: u32) -> PublicKey {
    (0..).map(|step| key(number + (step << 24))).find(PublicKey::can_sign).unwrap()
}

fn genesis() -> Genesis {
    let text = format!(
        r#"
chain = "test"
timestamp_ms = {NOW}
[rules]
accounts_per_block = 20
pending_total = 30
pending_per_account = 4
epoch_blocks = 7
[sovereign]
key = "{}"
username = "@sovereign"
[[sovereign.allocation]]
currency = "USD"
amount = "1000.00"
[[currency]]
code = "USD"
decimals = 2
type = "fiat"
[[validator]]
key = "{}"
address = "127.0.0.1:9000"
"#,
        key(0),
        validator_key(1_000_000)
    );
    Genesis::parse(&text).unwrap()
}

/// An execution, and what follows it.
struct World {
    genesis: Genesis,
    execution: Execution,
    tree: AccountTree,
    outcome: Outcome,
    nonces: BTreeMap<PublicKey, u64>,
    /// What each state root commits to, from height 0 on.
    sections: Vec<StateSections>,
    state: State,
    proofs: ProofTree,
}

/// A block as a reader sees it.
struct Step {
    header: BlockHeader,
    record: Vec<u8>,
    batch: Batch,
}

impl World {
    fn new() -> Self {
        let genesis = genesis();
        let (writer, _) = directory(100);
        let mut execution = Execution::from_genesis(&genesis, writer, &|_, _| ()).unwrap();
        let head = execution.begin_checkpoint().unwrap();
        let mut loaded = LoadedAccounts::default();
        while !execution.checkpoint_step(100, &mut |page, bytes| {
            assert_eq!(loaded.count(), page * PAGE_RECORDS);
            loaded.push_page(bytes.as_chunks::<RECORD_BYTES>().0);
        }) {}
        head.overflows.iter().for_each(|(index, bytes)| loaded.push_overflow(*index, bytes.as_ref().unwrap()));
        let parts = MetaSections::split(&head.meta, &genesis).unwrap();
        let (tree, proof_tree) =
            (tana_engine::replay::build_tree(&execution), tana_engine::replay::build_tree(&execution));
        let (tree, proof_tree) = (tree.unwrap(), proof_tree.unwrap());
        let sections = execution.sections(tree.root());
        let state = State::new(
            Accounts::new(loaded).unwrap(),
            FollowedSections::decode(&parts, &genesis).unwrap(),
            &parts.read_progress().unwrap(),
            sections,
        );
        let proofs = ProofTree::new(proof_tree, sections);
        let (nonces, outcome) = (BTreeMap::new(), Outcome::default());
        Self { genesis, execution, tree, outcome, nonces, sections: vec![sections], state, proofs }
    }

    /// Executes the next block, which attests `executed_height`.
    fn execute(&mut self, transactions: &[(u32, Payload<'_>)], executed_height: u64) -> Step {
        let mut batch = Batch::default();
        batch.clear();
        for (sender, payload) in transactions {
            let sender = key(*sender);
            let nonce = match payload {
                Payload::UserCreation { .. } => 0,
                _ => self.execution.find(&sender).map_or(1, |index| {
                    let next = self.nonces.entry(sender).or_insert_with(|| self.execution.nonce(index));
                    *next += 1;
                    *next
                }),
            };
            let bytes = raw(&self.genesis, sender, nonce, payload);
            batch.push(Transaction::exactly(&bytes).unwrap(), NO_ACCOUNT, Origin::default());
        }
        batch.ids = batch.transactions().map(|transaction| transaction.id()).collect();
        let progress = self.execution.progress();
        let height = progress.height + 1;
        let lanes = match transactions {
            [] => Vec::new(),
            _ => {
                let first_sequence = progress.lane_marks.get(&0).map_or(1, |mark| mark + 1);
                vec![LaneBatches { lane: 0, first_sequence, digests: vec![[9; 32]] }]
            }
        };
        let header = BlockHeader {
            height,
            epoch: self.execution.epoch_of(height),
            parent: progress.block_hash,
            proposer: [0; 32],
            timestamp_ms: NOW + height,
            executed_height,
            state_root: self.sections[executed_height as usize].root(),
            receipts_root: [0; 32],
            transaction_root: [0; 32],
            transaction_count: batch.len() as u32,
            validator_set_hash: [0; 32],
            lanes,
        };
        let batches: Vec<&Batch> = if batch.is_empty() { Vec::new() } else { vec![&batch] };
        self.execution.execute(&header, &batches, &mut self.outcome).unwrap();
        self.nonces.clear();
        let outcome = &self.outcome;
        let changes =
            LeafChanges { indexes: &outcome.changed, records: &outcome.records, overflows: &outcome.overflow_hashes };
        let sections = self.execution.sections(self.tree.update(&changes, None).unwrap());
        self.sections.push(sections);
        let overflows: Vec<_> =
            outcome.overflow_changes().map(|(position, bytes)| (position, bytes.unwrap_or_default())).collect();
        let positions = vec![7; batches.len()];
        let parts = CommitParts {
            header: &header,
            receipts_root: [1; 32],
            sections: &sections,
            batch_positions: &positions,
            codes: &outcome.codes,
            changed: &outcome.changed,
            overflows: &overflows,
        };
        let record = parts.assemble(&outcome.records);
        Step { header, record, batch }
    }

    /// Follows a block as the follower does.
    fn follow(&mut self, step: Step, certificate: &[u8]) -> Result<(), String> {
        let record = CommitRecord::decode(&step.record).unwrap();
        let batches = if step.batch.is_empty() { Vec::new() } else { vec![step.batch] };
        let prepared = self.state.prepare(&record, &self.genesis, || Ok(batches))?;
        self.state.commit(&record, prepared);
        if !self.proofs.wants(&step.header, !certificate.is_empty(), &self.state) {
            return Ok(());
        }
        if step.header.executed_height != self.proofs.height() {
            let changes = self.proofs.changes(step.header.executed_height, &self.state).unwrap();
            self.proofs.apply(&changes)?;
        }
        self.proofs.attest(&step.header, certificate)?;
        self.state.forget_up_to(step.header.executed_height);
        Ok(())
    }

    /// Everything that execution knows, the reader knows too.
    fn compare(&self) {
        let (execution, state) = (&self.execution, &self.state);
        assert_eq!(state.accounts.count(), execution.account_count());
        for index in 0..execution.account_count() {
            assert_eq!(state.accounts.record(index), execution.record(index).as_ref());
            assert_eq!(state.accounts.overflow(index), execution.overflow(index));
            let own = execution.account_at(index);
            let read = super::describe::describe_account(state, index);
            assert_eq!(read.is_some(), own.is_some());
            if let (Some(read), Some(own)) = (read, own) {
                let balances: Vec<_> = own.balances.into_iter().map(|entry| (entry.currency, entry.amount)).collect();
                let read_balances: Vec<_> =
                    read.balances.into_iter().map(|entry| (entry.currency_code, entry.amount)).collect();
                assert_eq!((read.public_key.as_str(), read_balances), (own.key.as_str(), balances));
                assert_eq!(state.accounts.find(&own.key.parse::<PublicKey>().unwrap().0), Some(index));
                let named = own.username.map(|name| state.accounts.find_username(&name.parse().unwrap()));
                assert!(named.is_none_or(|found| found == Some(index)));
            }
        }
        assert_eq!(state.sections.currency_totals(), execution.currency_totals());
        let waiting: Vec<_> = state.sections.pending(None).collect();
        assert_eq!(waiting, execution.pending_requests().collect::<Vec<_>>());
        let epoch = execution.epoch_of(execution.progress().height);
        for epoch in epoch..epoch + 6 {
            assert_eq!(state.sections.validators(epoch), execution.validators(epoch));
        }
        let (facts, progress) = (&state.facts, execution.progress());
        assert_eq!(
            (facts.height, facts.hash, facts.timestamp_ms),
            (progress.height, progress.block_hash, progress.timestamp_ms)
        );
        assert_eq!((facts.applied, facts.failed, facts.skipped), (progress.applied, progress.failed, progress.skipped));
        assert_eq!(facts.sections, *self.sections.last().unwrap());
    }

    /// Proofs hold against the state root of the tree's height, whatever happened since.
    fn prove(&self) {
        let sections = &self.sections[self.proofs.height() as usize];
        assert_eq!(self.proofs.sections(), sections);
        let (root, count) = (sections.accounts_root, u64::from(sections.account_count));
        assert_eq!(
            tana_execute::currencies_hash(&self.state.currencies_at(self.proofs.height())),
            sections.currencies_hash
        );
        for number in 0..70 {
            let wanted = key(number).0;
            let there = self.state.accounts.find(&wanted).is_some_and(|index| u64::from(index) < count);
            match self.proofs.prove(&wanted, &self.state).unwrap() {
                TreeProof::Inclusion(proof, overflow) => {
                    proof.verify(&root, count).unwrap();
                    assert!(there && proof.leaf.key() == wanted);
                    assert_eq!(proof.leaf.overflow, overflow.as_deref().map(tana_hash::hash));
                }
                TreeProof::Exclusion(proof) => {
                    proof.verify(&root, count, &wanted).unwrap();
                    assert!(!there);
                }
            }
        }
    }
}

fn raw(genesis: &Genesis, sender: PublicKey, nonce: u64, payload: &Payload<'_>) -> Vec<u8> {
    let payload_bytes = payload.encode().unwrap();
    let header = TransactionHeader {
        version: 1,
        kind: payload.kind() as u8,
        payload_length: U16::new(payload_bytes.len() as u16),
        chain: U32::new(genesis.to_chain().tag()),
        nonce: U64::new(nonce),
        timestamp_ms: U64::new(NOW),
        sender: sender.0,
    };
    [header.as_bytes(), &payload_bytes, &[0; 64]].concat()
}

/// Small numbers that look random.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 20) % sides
    }
}

/// A payload of any kind; requests are taken from those that wait.
fn payload<'a>(dice: &mut Dice, waiting: &[([u8; 32], bool)], names: &'a [String]) -> (u32, Payload<'a>) {
    let currency = ["USD", "BTC", "EUR", "GBP"][dice.roll(4) as usize].parse().unwrap();
    let (sender, other, amount) = (dice.roll(50) as u32, dice.roll(60) as u32, u128::from(dice.roll(5_000)) + 1);
    let request = |dice: &mut Dice, deposit: bool| {
        let fitting: Vec<_> = waiting.iter().filter(|(_, kind)| *kind == deposit).collect();
        fitting.get(dice.roll(fitting.len().max(1) as u64) as usize).map_or([3; 32], |(id, _)| *id)
    };
    match dice.roll(16) {
        0..=2 => {
            let username = names.get(dice.roll(2 * names.len() as u64) as usize).map_or("", String::as_str);
            (other, Payload::UserCreation { username, display_name: "", biography: "" })
        }
        3 => (sender, Payload::Deposit { currency, amount }),
        4 => (sender, Payload::Withdraw { currency, amount }),
        5 => (0, Payload::DepositConfirmation { request: request(dice, true), confirm: dice.roll(2) == 0 }),
        6 => (0, Payload::WithdrawalConfirmation { request: request(dice, false), confirm: dice.roll(2) == 0 }),
        7 => {
            let info = CurrencyInfo {
                code: currency,
                decimals: 3,
                currency_type: CurrencyType::Fiat,
                verified: false,
                name: String::new(),
                symbol: String::new(),
            };
            (0, Payload::CurrencyCreation(info))
        }
        8 => (0, Payload::RoleChange { account: key(other), role: Role::Staff }),
        9 | 10 => {
            let amount = if dice.roll(3) == 0 { 0 } else { amount };
            (
                0,
                Payload::BalanceAdjustment {
                    account: key(other),
                    currency,
                    amount,
                    reason: "because the test says so",
                },
            )
        }
        11 => {
            let (add, number) = (dice.roll(2) == 0, 2_000_000 + dice.roll(3) as u32);
            let address = if add { "127.0.0.1:1" } else { "" };
            (
                0,
                Payload::ValidatorSetChange {
                    add,
                    validator: validator_key(number),
                    epoch: 2 + dice.roll(12),
                    address,
                },
            )
        }
        _ => (sender, Payload::Transfer { recipient: key(other), currency, amount }),
    }
}

#[test]
fn records_alone_tell_what_execution_knows() {
    let names: Vec<String> = (0..40).map(|number| format!("@name-{number}")).collect();
    let mut changed_sets = 0;
    for seed in 1..6 {
        let (mut world, mut dice, mut attested) = (World::new(), Dice(seed * 0x9e37_79b9), 0);
        let mut codes = BTreeMap::new();
        for height in 1..90 {
            let waiting: Vec<_> = world
                .execution
                .pending_requests()
                .map(|(id, request)| (*id, request.kind == tana_execute::PendingKind::Deposit))
                .collect();
            let transactions: Vec<_> = (0..dice.roll(25)).map(|_| payload(&mut dice, &waiting, &names)).collect();
            // Heights are passed over, named twice, and lag behind.
            attested = (height - 1 - dice.roll(5).min(height - 1)).max(attested);
            let step = world.execute(&transactions, attested);
            for code in &world.outcome.codes {
                *codes.entry(Code::from_u8(*code).unwrap()).or_insert(0) += 1;
            }
            let certificate: &[u8] = if dice.roll(3) == 0 { &[] } else { &[1] };
            world.follow(step, certificate).unwrap();
            world.compare();
            world.prove();
        }
        assert!(world.proofs.attesting().is_some() && world.proofs.height() > 60);
        assert!(codes[&Code::Applied] > 200, "{codes:?}");
        changed_sets += usize::from(world.execution.validators(20).len() > 1);
        assert!(world.execution.currency_totals().len() > 2);
    }
    assert!(changed_sets > 0, "some sets were to change");
}

#[test]
fn a_record_that_does_not_fit_is_refused() {
    let mut world = World::new();
    let name = ["@a".to_owned()];
    let create = Payload::UserCreation { username: &name[0], display_name: "", biography: "" };
    let step = world.execute(
        &[(1, create), (0, Payload::Transfer { recipient: key(1), currency: "USD".parse().unwrap(), amount: 5 })],
        0,
    );
    // Another balance in the last record: nothing but the tree can notice.
    let mut wrong_balance = step.record.clone();
    let overflow_bytes = 8 + world.execution.overflow(2).unwrap().len();
    let amount_at = wrong_balance.len() - overflow_bytes - RECORD_BYTES + 56;
    wrong_balance[amount_at] ^= 1;
    let header = step.header.clone();
    world.follow(Step { header, record: wrong_balance, batch: Batch::default() }, &[1]).unwrap();
    let next = world.execute(&[], 1);
    let refused = world.follow(next, &[1]).unwrap_err();
    assert!(refused.contains("height 1") && refused.contains("root"), "{refused}");

    // The same block twice does not follow.
    let mut world = World::new();
    let first = world.execute(&[], 0);
    let again = Step { header: first.header.clone(), record: first.record.clone(), batch: Batch::default() };
    world.follow(first, &[1]).unwrap();
    assert!(world.follow(again, &[1]).unwrap_err().contains("does not follow"));

    // A header that attests another root.
    let mut lying = world.execute(&[], 1);
    lying.header.state_root = [7; 32];
    assert!(world.follow(lying, &[1]).unwrap_err().contains("attests"));
}

#[test]
fn sections_that_do_not_follow_from_the_transactions_are_refused() {
    let mut world = World::new();
    let usd = "USD".parse().unwrap();
    let step = world.execute(&[(0, Payload::Deposit { currency: usd, amount: 5 })], 0);
    // Another deposit than the one that was made.
    let mut other = Batch::default();
    other.clear();
    let bytes = raw(&world.genesis, key(0), 1, &Payload::Deposit { currency: usd, amount: 6 });
    other.push(Transaction::exactly(&bytes).unwrap(), NO_ACCOUNT, Origin::default());
    other.ids = vec![tana_hash::hash(&bytes)];
    let refused = world.follow(Step { batch: other, header: step.header.clone(), record: step.record.clone() }, &[1]);
    assert!(refused.unwrap_err().contains("pending requests"));
    world.follow(step, &[1]).unwrap();
    world.compare();
    assert!(world.state.accounts.record(SENTINEL).is_some());
}

/// Certificates for tests: the hash of what they say.
struct Hashed;

fn certificate(epoch: u64, set: &[[u8; 32]], hash: &[u8; 32]) -> Vec<u8> {
    tana_hash::hash(&[&epoch.to_le_bytes(), set.as_flattened(), hash].concat()).to_vec()
}

impl CertificateVerifier for Hashed {
    fn verify(&self, epoch: u64, set: &[[u8; 32]], hash: &[u8; 32], found: &[u8]) -> Result<(), String> {
        if certificate(epoch, set, hash) == found { Ok(()) } else { Err("forged".to_owned()) }
    }
}

#[test]
fn a_proof_leads_over_changes_of_the_validator_set() {
    let mut world = World::new();
    let newcomer = validator_key(2_000_000);
    let add = Payload::ValidatorSetChange { add: true, validator: newcomer, epoch: 3, address: "127.0.0.1:1" };
    // Epochs have 7 blocks: the state behind height 14 is the last that epoch 1 leaves, and block 15, of epoch 2, attests it.
    let step = world.execute(&[(0, add)], 0);
    world.follow(step, &[1]).unwrap();
    for height in 2..15 {
        let step = world.execute(&[], height - 1);
        world.follow(step, &[1]).unwrap();
    }
    let validators = world.execution.validators_section();
    let sections = world.sections[14];
    let header = world.execute(&[], 14).header;
    let genesis = world.genesis.clone();
    let old: Vec<[u8; 32]> = genesis.validators.iter().map(|validator| validator.key.0).collect();
    let signed = certificate(2, &old, &header.hash());
    let chain = FinalChain { headers: vec![header], certificate: signed };
    let step = SetStep { sections, validators, chain };
    assert_eq!(step.next_epoch(), 3);

    let trusted = || TrustedSet::of_genesis(&genesis);
    let walk = |trusted, steps: &[SetStep], epoch| set_of_epoch(trusted, steps, epoch, &genesis, &Hashed);
    let set = walk(trusted(), std::slice::from_ref(&step), 3).unwrap();
    assert_eq!(set.iter().map(|member| member.key).collect::<Vec<_>>(), [genesis.validators[0].key, newcomer]);
    assert_eq!(walk(trusted(), std::slice::from_ref(&step), 9).unwrap(), set);
    assert_eq!(walk(trusted(), &[], 2).unwrap().len(), 1);
    // One who trusts the later set already passes the step over.
    let later = TrustedSet { epoch: 3, set: set.clone() };
    assert_eq!(walk(later.clone(), std::slice::from_ref(&step), 4).unwrap(), set);

    assert!(walk(later, &[], 2).is_err(), "the block is older than the trust");
    assert!(walk(trusted(), std::slice::from_ref(&step), 2).is_err(), "the change is not in force yet");
    assert!(walk(trusted(), &[step.clone(), step.clone()], 3).is_err(), "the same change twice");
    let mut forged = step.clone();
    forged.chain.certificate[0] ^= 1;
    assert!(walk(trusted(), &[forged], 3).is_err());
    let mut forged = step;
    let end = forged.validators.len() - 1;
    forged.validators[end] ^= 1;
    assert!(walk(trusted(), &[forged], 3).is_err());
}
