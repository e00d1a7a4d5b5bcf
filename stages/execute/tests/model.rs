//! Random transactions of all kinds against a model that is as plain as the rules: maps, no slots, no windows, no caches.
//!
//! The model decides each code by itself; afterwards every account, total, request and nonce must agree, money must be conserved, and
//! there must be exactly one sovereign. A failing case prints its steps; proptest shrinks them.
// Helpers of tests may panic as tests may.
#![allow(clippy::unwrap_used)]

mod common;

use std::collections::BTreeMap;

use common::*;
use proptest::prelude::*;
use tana_types::account::{HotAccount, NO_ACCOUNT};
use tana_types::code::Code;
use tana_types::currency::{CurrencyInfo, CurrencyType};
use tana_types::key::PublicKey;
use tana_types::payload::{Payload, Role};

const CODES: [&str; 5] = ["USD", "BTC", "EUR", "GBP", "JPY"];
const NAMES: [&str; 4] = ["", "", "@ann", "@bea"];

/// One transaction to be: its kind and small numbers that select accounts, currencies and amounts.
#[derive(Debug, Clone)]
struct Step {
    kind: u8,
    sender: u32,
    other: u32,
    currency: usize,
    amount: u128,
    nonce_shift: i8,
    late: bool,
    request: usize,
}

#[derive(Debug, Clone, Default, PartialEq)]
struct ModelAccount {
    nonce: u64,
    role: u8,
    name: String,
    balances: BTreeMap<String, u128>,
}

#[derive(Debug, Clone)]
struct ModelRequest {
    deposit: bool,
    account: PublicKey,
    currency: String,
    amount: u128,
}

#[derive(Debug, Clone, Default)]
struct Model {
    accounts: BTreeMap<PublicKey, ModelAccount>,
    totals: BTreeMap<String, u128>,
    requests: BTreeMap<[u8; 32], ModelRequest>,
    created_in_block: u32,
}

fn steps() -> impl Strategy<Value = Vec<Vec<Step>>> {
    let amount = prop_oneof![4 => 0u128..200, 4 => 0u128..60_000, 1 => Just(u128::MAX), 1 => any::<u128>()];
    let kind = prop_oneof![2 => Just(1u8), 6 => Just(2u8), 1 => 3u8..=10, 1 => Just(10u8)];
    let nonce_shift = prop_oneof![20 => Just(0i8), 1 => Just(1i8), 1 => Just(-1i8)];
    let step = (kind, 0u32..8, 0u32..10, 0usize..5, amount, any::<bool>(), nonce_shift, 0u8..40, 0usize..8).prop_map(
        |(kind, sender, other, currency, amount, flag, nonce_shift, late, request)| Step {
            kind,
            sender: if kind > 3 && flag { 0 } else { sender },
            other,
            currency,
            amount,
            nonce_shift,
            late: late == 0,
            request,
        },
    );
    prop::collection::vec(prop::collection::vec(step, 0..90), 1..8)
}

impl Model {
    fn new(chain: &TestChain) -> Self {
        let mut model = Self::default();
        let sovereign = ModelAccount {
            role: Role::Sovereign as u8,
            name: "@sovereign".into(),
            balances: [("USD".to_owned(), 100_000)].into(),
            ..ModelAccount::default()
        };
        model.accounts.insert(chain.genesis.sovereign.key, sovereign);
        model.totals = [("USD".to_owned(), 100_000), ("BTC".to_owned(), 0)].into();
        model
    }

    fn balance(&self, key: &PublicKey, currency: &str) -> u128 {
        self.accounts[key].balances.get(currency).copied().unwrap_or(0)
    }

    fn set(&mut self, key: &PublicKey, currency: &str, amount: u128) {
        let balances = &mut self.accounts.get_mut(key).unwrap().balances;
        if amount == 0 {
            balances.remove(currency);
        } else {
            balances.insert(currency.to_owned(), amount);
        }
    }

    /// The code of a transaction, and its effect.
    fn run(&mut self, sender: PublicKey, nonce: u64, late: bool, payload: &Payload<'_>, id: [u8; 32]) -> Code {
        if let Payload::UserCreation { username, .. } = payload {
            return match () {
                _ if nonce != 0 => Code::Malformed,
                _ if late => Code::TimestampOutOfWindow,
                _ if self.accounts.contains_key(&sender) => Code::AccountExists,
                _ if !username.is_empty() && self.accounts.values().any(|account| account.name == *username) => {
                    Code::UsernameTaken
                }
                _ if self.created_in_block == 4 => Code::AccountsPerBlock,
                _ => {
                    self.created_in_block += 1;
                    let account = ModelAccount { name: (*username).to_owned(), ..ModelAccount::default() };
                    self.accounts.insert(sender, account);
                    Code::Applied
                }
            };
        }
        let Some(account) = self.accounts.get_mut(&sender) else { return Code::UnknownSender };
        match nonce {
            _ if nonce <= account.nonce => return Code::Duplicate,
            _ if nonce > account.nonce + 1 => return Code::NonceGap,
            _ => account.nonce = nonce,
        }
        if late {
            return Code::TimestampOutOfWindow;
        }
        self.effect(sender, payload, id).err().unwrap_or(Code::Applied)
    }

    fn effect(&mut self, sender: PublicKey, payload: &Payload<'_>, id: [u8; 32]) -> Result<(), Code> {
        let is_sovereign = self.accounts[&sender].role == Role::Sovereign as u8;
        let require = |condition, code| if condition { Ok(()) } else { Err(code) };
        match payload {
            Payload::Transfer { recipient, currency, amount } => {
                let currency = currency.to_string();
                require(*amount > 0, Code::ZeroAmount)?;
                require(self.totals.contains_key(&currency), Code::UnknownCurrency)?;
                require(self.accounts.contains_key(recipient), Code::UnknownRecipient)?;
                require(self.balance(&sender, &currency) >= *amount, Code::InsufficientFunds)?;
                self.set(&sender, &currency, self.balance(&sender, &currency) - amount);
                self.set(recipient, &currency, self.balance(recipient, &currency) + amount);
            }
            Payload::Deposit { currency, amount } | Payload::Withdraw { currency, amount } => {
                let currency = currency.to_string();
                let deposit = matches!(payload, Payload::Deposit { .. });
                require(*amount > 0, Code::ZeroAmount)?;
                require(self.totals.contains_key(&currency), Code::UnknownCurrency)?;
                let balance = self.balance(&sender, &currency);
                require(deposit || balance >= *amount, Code::InsufficientFunds)?;
                require(self.requests.len() < 3, Code::PendingTotal)?;
                let own = self.requests.values().filter(|request| request.account == sender).count();
                require(own < 2, Code::PendingPerAccount)?;
                if !deposit {
                    self.set(&sender, &currency, balance - amount);
                }
                self.requests.insert(id, ModelRequest { deposit, account: sender, currency, amount: *amount });
            }
            _ if !is_sovereign => return Err(Code::NotSovereign),
            Payload::DepositConfirmation { request, confirm } => {
                let found = self.requests.get(request).filter(|found| found.deposit).cloned();
                let found = found.ok_or(Code::UnknownRequest)?;
                if *confirm {
                    let total = self.totals[&found.currency].checked_add(found.amount).ok_or(Code::AmountOverflow)?;
                    let sum = self.balance(&found.account, &found.currency) + found.amount;
                    self.set(&found.account, &found.currency, sum);
                    self.totals.insert(found.currency, total);
                }
                self.requests.remove(request);
            }
            Payload::WithdrawalConfirmation { request, confirm } => {
                let found = self.requests.get(request).filter(|found| !found.deposit).cloned();
                let found = found.ok_or(Code::UnknownRequest)?;
                if *confirm {
                    *self.totals.get_mut(&found.currency).unwrap() -= found.amount;
                } else {
                    let sum = self.balance(&found.account, &found.currency) + found.amount;
                    self.set(&found.account, &found.currency, sum);
                }
                self.requests.remove(request);
            }
            Payload::CurrencyCreation(info) => {
                let code = info.code.to_string();
                require(!self.totals.contains_key(&code), Code::CurrencyExists)?;
                self.totals.insert(code, 0);
            }
            Payload::RoleChange { account, role } => {
                let target = self.accounts.get_mut(account).ok_or(Code::UnknownAccount)?;
                require(target.role != Role::Sovereign as u8, Code::SovereignRole)?;
                require(target.role != *role as u8, Code::RoleUnchanged)?;
                target.role = *role as u8;
            }
            Payload::SovereigntyTransfer { account } => {
                require(self.accounts.contains_key(account), Code::UnknownAccount)?;
                require(*account != sender, Code::RoleUnchanged)?;
                self.accounts.get_mut(&sender).unwrap().role = Role::User as u8;
                self.accounts.get_mut(account).unwrap().role = Role::Sovereign as u8;
            }
            Payload::BalanceAdjustment { account, currency, amount, .. } => {
                let currency = currency.to_string();
                let total = *self.totals.get(&currency).ok_or(Code::UnknownCurrency)?;
                require(self.accounts.contains_key(account), Code::UnknownAccount)?;
                let rest = total - self.balance(account, &currency);
                self.totals.insert(currency.clone(), rest.checked_add(*amount).ok_or(Code::AmountOverflow)?);
                self.set(account, &currency, *amount);
            }
            other => panic!("not in the model: {other:?}"),
        }
        Ok(())
    }

    /// Whether the state says the same as the model.
    fn check(&self, chain: &TestChain) {
        let state = &chain.state;
        assert_eq!(state.account_count() as usize, self.accounts.len() + 1);
        let mut sums: BTreeMap<String, u128> = self.totals.keys().map(|code| (code.clone(), 0)).collect();
        for (key, account) in &self.accounts {
            let index = state.find(key).unwrap();
            let seen = state.account_at(index).unwrap();
            let (_, hot) = HotAccount::from_record(&state.record(index).unwrap());
            assert_eq!((hot.nonce.get(), hot.role), (account.nonce, account.role));
            assert_eq!(chain.directory.nonce(index), account.nonce);
            assert_eq!(seen.username.unwrap_or_default(), account.name);
            assert_eq!(seen.balances.len(), account.balances.len());
            for (code, amount) in &account.balances {
                let id = state.currency(&code.parse().unwrap()).unwrap().0;
                assert_eq!(state.balance(index, id), *amount);
                *sums.get_mut(code).unwrap() += amount;
            }
        }
        for request in self.requests.values().filter(|request| !request.deposit) {
            *sums.get_mut(&request.currency).unwrap() += request.amount;
        }
        assert_eq!(sums, self.totals, "the model conserves too");
        for (code, total) in &self.totals {
            assert_eq!(chain.total(code), *total);
        }
        let ids: Vec<_> = state.pending_requests().map(|(id, _)| *id).collect();
        assert_eq!(ids, self.requests.keys().copied().collect::<Vec<_>>());
        let sovereigns = self.accounts.values().filter(|account| account.role == Role::Sovereign as u8).count();
        assert_eq!(sovereigns, 1);
        check_links(chain);
    }
}

/// The links visit every account in key order.
fn check_links(chain: &TestChain) {
    let mut keys: Vec<_> = (1..chain.state.account_count()).map(|index| chain.directory.key(index)).collect();
    keys.sort_unstable();
    let mut walked = Vec::new();
    let mut index = 0;
    loop {
        let (key, hot) = HotAccount::from_record(&chain.state.record(index).unwrap());
        if index != 0 {
            walked.push(key);
        }
        index = hot.next.get();
        if index == NO_ACCOUNT {
            break;
        }
    }
    assert_eq!(walked, keys);
}

fn payload(step: &Step, requests: &[[u8; 32]]) -> Payload<'static> {
    let currency = CODES[step.currency].parse().unwrap();
    let (amount, confirm, account) = (step.amount, !step.amount.is_multiple_of(3), key(step.other));
    let request = requests.iter().rev().nth(step.request).copied().unwrap_or([9; 32]);
    match step.kind {
        1 => Payload::UserCreation { username: NAMES[step.currency % 4], display_name: "", biography: "" },
        2 => Payload::Transfer { recipient: account, currency, amount },
        3 => Payload::Deposit { currency, amount },
        4 => Payload::Withdraw { currency, amount },
        5 => Payload::DepositConfirmation { request, confirm },
        6 => Payload::WithdrawalConfirmation { request, confirm },
        7 => Payload::CurrencyCreation(CurrencyInfo {
            code: currency,
            decimals: 0,
            currency_type: CurrencyType::Fiat,
            verified: false,
            name: String::new(),
            symbol: String::new(),
        }),
        8 => Payload::RoleChange { account, role: if confirm { Role::Staff } else { Role::User } },
        9 => Payload::SovereigntyTransfer { account },
        _ => Payload::BalanceAdjustment { account, currency, amount, reason: "a reason long enough" },
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, max_shrink_iters: 2_000, ..ProptestConfig::default() })]
    #[test]
    fn execution_agrees_with_the_model(blocks in steps()) {
        let mut chain = TestChain::new();
        let mut model = Model::new(&chain);
        let mut requests = Vec::new();
        for steps in blocks {
            let genesis = chain.genesis.clone();
            let mut transactions = Vec::new();
            let mut expected = Vec::new();
            model.created_in_block = 0;
            for step in steps {
                let sender = key(step.sender);
                let payload = payload(&step, &requests);
                let last = model.accounts.get(&sender).map_or(0, |account| account.nonce);
                let right = if step.kind == 1 { 0 } else { last + 1 };
                let nonce = right.saturating_add_signed(i64::from(step.nonce_shift));
                let time = if step.late { NOW - 10_000_000 } else { NOW };
                let kind = payload.kind() as u8;
                let bytes = raw(&genesis, sender, nonce, time, kind, &payload.encode().unwrap());
                if matches!(step.kind, 3 | 4) {
                    requests.push(id(&bytes));
                }
                let before = model.clone();
                let code = model.run(sender, nonce, step.late, &payload, id(&bytes));
                if code != Code::Applied {
                    let mut only_nonce = before;
                    if !code.is_skipped() && step.kind != 1 {
                        only_nonce.accounts.get_mut(&sender).unwrap().nonce += 1;
                    }
                    prop_assert_eq!(&only_nonce.accounts, &model.accounts, "the model itself fails cleanly");
                }
                transactions.push(bytes);
                expected.push(code);
            }
            prop_assert_eq!(chain.block(&transactions), expected);
            model.check(&chain);
        }
    }

    #[test]
    fn cutting_a_block_into_batches_and_giving_hints_changes_nothing(blocks in steps(), cut in 1usize..40, hint: bool) {
        let (mut plain, mut other) = (TestChain::new(), TestChain::new());
        let mut requests = Vec::new();
        for steps in blocks {
            let genesis = plain.genesis.clone();
            let mut nonces: BTreeMap<u32, u64> = BTreeMap::new();
            let mut transactions = Vec::new();
            for step in steps {
                let payload = payload(&step, &requests);
                let next = nonces.entry(step.sender).or_insert_with(|| plain.next_nonce(step.sender).max(1));
                let nonce = if step.kind == 1 { 0 } else { *next };
                *next += u64::from(step.kind != 1);
                let bytes = transaction(&genesis, key(step.sender), nonce, &payload);
                if matches!(step.kind, 3 | 4) {
                    requests.push(id(&bytes));
                }
                transactions.push((step.sender, bytes));
            }
            let all: Vec<_> = transactions.iter().map(|(_, bytes)| bytes.clone()).collect();
            plain.block(&all);
            let mut batches = Vec::new();
            for chunk in transactions.chunks(cut) {
                let mut batch = tana_types::batch::Batch::default();
                batch.clear();
                for (sender, bytes) in chunk {
                    // Right hints, and wrong ones of every sort.
                    let right = other.state.find(&key(*sender)).unwrap_or(NO_ACCOUNT);
                    let hint = match (hint, sender % 3) { (false, 0) => sender % 7, (false, 1) => 4_000_000, _ => right };
                    let transaction = tana_types::transaction::Transaction::exactly(bytes).unwrap();
                    batch.push(transaction, hint, Default::default());
                }
                batch.ids = batch.transactions().map(|transaction| transaction.id()).collect();
                batches.push(batch);
            }
            let batches: Vec<_> = batches.iter().collect();
            let header = header(&other.state, &batches);
            other.state.execute(&header, &batches, &mut other.outcome).unwrap();
            prop_assert_eq!(&plain.outcome, &other.outcome);
            let (mut a, mut b) = (plain.state.sections(accounts_hash(&plain.state)), other.state.sections(accounts_hash(&other.state)));
            // Block hashes differ, because the headers list different batches.
            (a.progress_hash, b.progress_hash) = ([0; 32], [0; 32]);
            prop_assert_eq!(a, b);
        }
    }
}
