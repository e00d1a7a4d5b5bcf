//! Each kind of transaction: done right, and every way to do it wrong.
// Helpers of tests may panic as tests may.
#![allow(clippy::unwrap_used)]

mod common;

use common::*;
use tana_execute::{LaneFloor, LaneFloors, PendingKind};
use tana_types::account::HotAccount;
use tana_types::code::Code;
use tana_types::currency::{CurrencyInfo, CurrencyType};
use tana_types::key::PublicKey;
use tana_types::payload::{Kind, Payload, Role};

fn currency_info(code: &str) -> CurrencyInfo {
    CurrencyInfo {
        code: code.parse().unwrap(),
        decimals: 3,
        currency_type: CurrencyType::Fiat,
        verified: false,
        name: String::new(),
        symbol: String::new(),
    }
}

/// Runs `step`, which must end with `code` and change nothing but the sender's nonce.
fn fails(chain: &mut TestChain, sender: u32, payload: Payload<'_>, code: Code) {
    let index = chain.state.find(&key(sender)).unwrap();
    let before: Vec<_> = chain.state.leaves(0..u32::MAX).collect();
    let sections = chain.state.sections([0; 32]);
    let nonce = chain.state.nonce(index);
    assert_eq!(chain.send(sender, payload), code);
    let after: Vec<_> = chain.state.leaves(0..u32::MAX).collect();
    let mut expected = before;
    let (key, mut hot) = HotAccount::from_record(&expected[index as usize].0);
    hot.nonce.set(nonce + 1);
    expected[index as usize].0 = hot.record(&key);
    assert_eq!(after, expected, "a failure changes nothing but the nonce");
    let now = chain.state.sections([0; 32]);
    assert_eq!(now.currencies_hash, sections.currencies_hash);
    assert_eq!(now.pending_hash, sections.pending_hash);
    assert_eq!(now.validators_hash, sections.validators_hash);
    assert_eq!(chain.outcome.changed, vec![index]);
    assert_eq!((chain.outcome.applied, chain.outcome.failed, chain.outcome.skipped), (0, 1, 0));
}

#[test]
fn genesis_has_sentinel_sovereign_and_totals() {
    let chain = TestChain::new();
    assert_eq!(chain.state.account_count(), 2);
    assert_eq!(chain.state.sovereign(), 1);
    let sovereign = chain.state.account("@Sovereign").unwrap();
    assert_eq!((sovereign.index, sovereign.role.as_str(), sovereign.nonce), (1, "sovereign", 0));
    assert_eq!(sovereign.balances[0].amount, "1000.00");
    assert_eq!(chain.state.account(&key(0).to_string()).unwrap(), sovereign);
    assert!(chain.state.account_at(0).is_none());
    assert_eq!((chain.total("USD"), chain.total("BTC")), (100_000, 0));
    assert_eq!(chain.state.progress().block_hash, chain.genesis.hash());
}

#[test]
fn user_creation() {
    let mut chain = TestChain::new();
    assert_eq!(chain.send(1, user("@alice")), Code::Applied);
    assert_eq!((chain.outcome.creations, chain.outcome.applied), (1, 1));
    let (position, bytes) = chain.outcome.overflow_changes().next().unwrap();
    assert_eq!(chain.outcome.changed[position as usize], 2);
    assert!(chain.outcome.overflow_hashes.contains(&(position, *blake3::hash(bytes.unwrap()).as_bytes())));
    let alice = chain.state.account("alice").unwrap();
    assert_eq!((alice.role.as_str(), alice.nonce, alice.created_height, alice.index), ("user", 0, 1, 2));
    assert_eq!(chain.next_nonce(1), 1);
    // Wrong ones, each without an account.
    let genesis = chain.genesis.clone();
    let create = |number: u32, nonce: u64, name: &str| transaction(&genesis, key(number), nonce, &user(name));
    assert_eq!(chain.block(&[create(1, 0, "")]), [Code::AccountExists]);
    assert_eq!(chain.block(&[create(2, 0, "@alice")]), [Code::UsernameTaken]);
    assert_eq!(chain.block(&[create(2, 1, "@bob")]), [Code::Malformed]);
    assert_eq!(chain.outcome.changed, vec![]);
    let zero = transaction(&genesis, PublicKey([0; 32]), 0, &user(""));
    assert_eq!(chain.block(&[zero]), [Code::AccountExists]);
    let late = raw(&genesis, key(2), 0, NOW + 400_000, Kind::UserCreation as u8, &user("@bob").encode().unwrap());
    assert_eq!(chain.block(&[late]), [Code::TimestampOutOfWindow]);
    // The first of two that want a name in one block gets it; the fifth account of a block comes too late.
    let wave = [(2, "@bob"), (3, "@bob"), (4, ""), (5, ""), (6, ""), (7, "")];
    let wave: Vec<_> = wave.iter().map(|&(number, name)| create(number, 0, name)).collect();
    let (ok, applied) = (Code::UsernameTaken, Code::Applied);
    assert_eq!(chain.block(&wave), [applied, ok, applied, applied, applied, Code::AccountsPerBlock]);
    assert_eq!(chain.outcome.skipped, 1);
    assert_eq!(chain.block(&wave[5..]), [Code::Applied], "the same bytes succeed in a later block");
    assert_eq!(chain.state.account("@bob").unwrap().key, key(2).to_string());
    // The chain has room for 60 accounts, the sentinel included.
    let left = 60 - chain.state.account_count();
    chain.create(100..100 + left);
    assert_eq!(chain.block(&[create(99, 0, "")]), [Code::AccountsTotal]);
}

#[test]
fn accounts_made_in_a_block_can_act_in_it() {
    let mut chain = TestChain::new();
    let genesis = chain.genesis.clone();
    let steps = [
        transaction(&genesis, key(1), 1, &pay(0, "USD", 1)),
        transaction(&genesis, key(0), 1, &pay(1, "USD", 5)),
        transaction(&genesis, key(1), 0, &user("")),
        transaction(&genesis, key(0), 2, &pay(1, "USD", 5)),
        transaction(&genesis, key(1), 1, &pay(0, "USD", 3)),
    ];
    let (ok, unknown) = (Code::Applied, Code::UnknownRecipient);
    assert_eq!(chain.block(&steps), [Code::UnknownSender, unknown, ok, ok, ok]);
    assert_eq!((chain.balance(0, "USD"), chain.balance(1, "USD")), (99_998, 2));
    assert_eq!(chain.state.progress().applied, 3);
}

#[test]
fn nonces() {
    let mut chain = TestChain::new();
    chain.create([1]);
    let genesis = chain.genesis.clone();
    let at = |nonce: u64| transaction(&genesis, key(0), nonce, &pay(1, "USD", 1));
    let codes = chain.block(&[at(2), at(1), at(1), at(2), at(4), at(0), at(u64::MAX)]);
    let (gap, duplicate, ok) = (Code::NonceGap, Code::Duplicate, Code::Applied);
    assert_eq!(codes, [gap, ok, duplicate, ok, gap, duplicate, gap]);
    assert_eq!(chain.next_nonce(0), 3);
    assert_eq!(chain.directory.nonce(1), 2, "the directory follows");
    assert_eq!(chain.balance(1, "USD"), 2);
    assert_eq!((chain.outcome.applied, chain.outcome.skipped), (2, 5));
    // The sentinel's key and an unknown one send nothing.
    for sender in [PublicKey([0; 32]), key(77)] {
        let bytes = transaction(&genesis, sender, 1, &pay(1, "USD", 1));
        assert_eq!(chain.block(&[bytes]), [Code::UnknownSender]);
        assert_eq!(chain.outcome.changed, vec![]);
    }
}

#[test]
fn transfers() {
    let mut chain = TestChain::new();
    chain.create([1, 2]);
    assert_eq!(chain.send(0, pay(1, "USD", 60_000)), Code::Applied);
    assert_eq!((chain.balance(0, "USD"), chain.balance(1, "USD")), (40_000, 60_000));
    assert_eq!(chain.outcome.movements[0].moved, 0);
    fails(&mut chain, 1, pay(2, "USD", 60_001), Code::InsufficientFunds);
    fails(&mut chain, 1, pay(1, "USD", 60_001), Code::InsufficientFunds);
    fails(&mut chain, 1, pay(2, "BTC", 1), Code::InsufficientFunds);
    fails(&mut chain, 1, pay(2, "USD", 0), Code::ZeroAmount);
    fails(&mut chain, 1, pay(2, "EUR", 1), Code::UnknownCurrency);
    fails(&mut chain, 1, pay(9, "USD", 1), Code::UnknownRecipient);
    let nobody = Payload::Transfer { recipient: PublicKey([0; 32]), currency: "USD".parse().unwrap(), amount: 1 };
    fails(&mut chain, 1, nobody, Code::UnknownRecipient);
    assert_eq!(chain.send(1, pay(1, "USD", 60_000)), Code::Applied, "to itself, without effect");
    assert_eq!(chain.balance(1, "USD"), 60_000);
    assert_eq!(chain.send(1, pay(2, "USD", 60_000)), Code::Applied, "down to zero");
    assert_eq!((chain.balance(1, "USD"), chain.balance(2, "USD")), (0, 60_000));
    assert_eq!(chain.state.account(&key(1).to_string()).unwrap().balances, vec![], "zero leaves no trace");
    assert_eq!(chain.total("USD"), 100_000);
}

#[test]
fn malformed_payloads_consume_the_nonce() {
    let mut chain = TestChain::new();
    let genesis = chain.genesis.clone();
    let mut bad_code = pay(0, "USD", 1).encode().unwrap();
    bad_code[33] = b'!';
    let cases: [(u8, &[u8]); 5] =
        [(2, &[1; 59]), (2, &bad_code), (0, &[]), (12, &[1, 2, 3]), (Kind::RoleChange as u8, &[9; 33])];
    for (nonce, (kind, payload)) in (1..).zip(cases) {
        let bytes = raw(&genesis, key(0), nonce, NOW, kind, payload);
        assert_eq!(chain.block(&[bytes]), [Code::Malformed]);
        assert_eq!(chain.next_nonce(0), nonce + 1);
    }
    let mut other_chain = transaction(&genesis, key(0), 6, &pay(0, "USD", 1));
    other_chain[4] ^= 1;
    assert_eq!(chain.block(&[other_chain]), [Code::Malformed]);
    let creation = raw(&genesis, key(1), 0, NOW, Kind::UserCreation as u8, &[7]);
    assert_eq!(chain.block(&[creation]), [Code::Malformed]);
    assert_eq!(chain.outcome.changed, vec![]);
}

#[test]
fn a_validator_is_added_only_with_a_key_that_can_sign() {
    let mut chain = TestChain::new();
    let genesis = chain.genesis.clone();
    let no_point = [2; 32];
    let mut small_order = [0; 32];
    small_order[0] = 1;
    // The place of y = 3, which is on the curve, with the field's prime added.
    let mut not_canonical = [0xFF; 32];
    (not_canonical[0], not_canonical[31]) = (0xF0, 0x7F);
    let good = validator_key(5);
    let payload = |add: bool, key: [u8; 32]| {
        let address: &[u8] = if add { b"\x06host:1" } else { b"\0" };
        [&[u8::from(add)], &key[..], &2u64.to_le_bytes(), address].concat()
    };
    let sections = chain.state.sections([0; 32]);
    for (nonce, key_bytes) in (1..).zip([no_point, small_order, not_canonical]) {
        let bytes = raw(&genesis, key(0), nonce, NOW, Kind::ValidatorSetChange as u8, &payload(true, key_bytes));
        assert_eq!(chain.block(&[bytes]), [Code::Malformed], "{key_bytes:02x?}");
        assert_eq!(chain.next_nonce(0), nonce + 1);
    }
    assert_eq!(chain.state.sections([0; 32]).validators_hash, sections.validators_hash);
    let rest: [(bool, [u8; 32], Code); 3] = [
        (false, no_point, Code::UnknownValidator),
        (true, good.0, Code::Applied),
        (true, good.0, Code::ValidatorExists),
    ];
    for (nonce, (add, key_bytes, code)) in (4..).zip(rest) {
        let bytes = raw(&genesis, key(0), nonce, NOW, Kind::ValidatorSetChange as u8, &payload(add, key_bytes));
        assert_eq!(chain.block(&[bytes]), [code]);
    }
}

#[test]
fn timestamps_have_a_window() {
    let mut chain = TestChain::new();
    let genesis = chain.genesis.clone();
    let payload = pay(0, "USD", 1).encode().unwrap();
    let window = genesis.rules.transaction_window_ms;
    // Block h has the time NOW + h.
    for (nonce, time, code) in [
        (1, NOW + 1 + window, Code::Applied),
        (2, NOW + 2 + window + 1, Code::TimestampOutOfWindow),
        (3, NOW + 3 - window, Code::Applied),
        (4, NOW + 4 - window - 1, Code::TimestampOutOfWindow),
        (5, u64::MAX, Code::TimestampOutOfWindow),
        (6, 0, Code::TimestampOutOfWindow),
    ] {
        assert_eq!(chain.block(&[raw(&genesis, key(0), nonce, time, 2, &payload)]), [code]);
        assert_eq!(chain.next_nonce(0), nonce + 1);
    }
}

#[test]
fn deposits() {
    let mut chain = TestChain::new();
    chain.create([1]);
    let usd = "USD".parse().unwrap();
    let deposit = |amount| Payload::Deposit { currency: usd, amount };
    let decide = |request, confirm| Payload::DepositConfirmation { request, confirm };
    let (code, first) = chain.send_with_id(1, deposit(500));
    assert_eq!(code, Code::Applied);
    assert_eq!((chain.balance(1, "USD"), chain.total("USD")), (0, 100_000), "nothing exists before confirmation");
    assert_eq!(chain.state.pending(None, 9)[0].amount, "5.00");
    let (_, second) = chain.send_with_id(1, deposit(700));
    fails(&mut chain, 1, deposit(1), Code::PendingPerAccount);
    let (code, third) = chain.send_with_id(0, deposit(u128::MAX));
    assert_eq!(code, Code::Applied, "one account does not take the room of another");
    fails(&mut chain, 0, deposit(1), Code::PendingTotal);
    fails(&mut chain, 1, deposit(1), Code::PendingTotal);
    pages(&chain, [first, second, third]);
    fails(&mut chain, 1, deposit(0), Code::ZeroAmount);
    fails(&mut chain, 1, Payload::Deposit { currency: "EUR".parse().unwrap(), amount: 1 }, Code::UnknownCurrency);
    fails(&mut chain, 1, decide(first, true), Code::NotSovereign);
    fails(&mut chain, 0, decide([9; 32], true), Code::UnknownRequest);
    fails(&mut chain, 0, Payload::WithdrawalConfirmation { request: first, confirm: true }, Code::UnknownRequest);
    fails(&mut chain, 0, decide(third, true), Code::AmountOverflow);
    assert_eq!(chain.send(0, decide(first, true)), Code::Applied);
    assert_eq!((chain.balance(1, "USD"), chain.total("USD")), (500, 100_500));
    let movement = chain.outcome.movements[0];
    assert_eq!((movement.minted, movement.burned, movement.moved), (500, 0, 500));
    fails(&mut chain, 0, decide(first, true), Code::UnknownRequest);
    let (code, again) = chain.send_with_id(1, deposit(1));
    assert_eq!(code, Code::Applied, "a decision makes room again");
    assert_eq!(chain.send(0, decide(again, false)), Code::Applied);
    assert_eq!(chain.send(0, decide(second, false)), Code::Applied);
    assert_eq!(chain.send(0, decide(third, false)), Code::Applied);
    assert_eq!((chain.balance(1, "USD"), chain.total("USD")), (500, 100_500));
    assert_eq!(chain.state.pending(None, 9), vec![]);
}

/// Whatever the size of a page, the pages together are the requests in order of their identifiers.
fn pages(chain: &TestChain, mut ids: [[u8; 32]; 3]) {
    ids.sort_unstable();
    let listed =
        |after, limit| -> Vec<_> { chain.state.pending(after, limit).into_iter().map(|entry| entry.request).collect() };
    let texts = ids.map(hex::encode);
    assert_eq!(listed(None, 3), texts);
    assert_eq!(listed(None, 2), texts[..2]);
    assert_eq!(listed(Some(ids[0]), 1), texts[1..2]);
    assert_eq!(listed(Some(ids[1]), 9), texts[2..]);
    assert!(listed(Some(ids[2]), 9).is_empty());
    assert_eq!(listed(Some([0; 32]), 9), texts, "`after` need not exist");
}

#[test]
fn withdrawals() {
    let mut chain = TestChain::new();
    chain.create([1]);
    chain.send(0, pay(1, "USD", 1_000));
    let usd = "USD".parse().unwrap();
    let withdraw = |amount| Payload::Withdraw { currency: usd, amount };
    let decide = |request, confirm| Payload::WithdrawalConfirmation { request, confirm };
    let (code, first) = chain.send_with_id(1, withdraw(400));
    assert_eq!(code, Code::Applied);
    assert_eq!((chain.balance(1, "USD"), chain.total("USD")), (600, 100_000), "reserved at once, still in the total");
    assert_eq!(chain.state.pending_requests().next().unwrap().1.kind, PendingKind::Withdraw);
    fails(&mut chain, 1, withdraw(601), Code::InsufficientFunds);
    fails(&mut chain, 1, withdraw(0), Code::ZeroAmount);
    fails(&mut chain, 1, Payload::Withdraw { currency: "EUR".parse().unwrap(), amount: 1 }, Code::UnknownCurrency);
    let (_, second) = chain.send_with_id(1, withdraw(100));
    fails(&mut chain, 1, withdraw(1), Code::PendingPerAccount);
    fails(&mut chain, 1, Payload::Deposit { currency: usd, amount: 1 }, Code::PendingPerAccount);
    fails(&mut chain, 1, withdraw(501), Code::InsufficientFunds);
    chain.send(0, withdraw(100));
    fails(&mut chain, 1, withdraw(1), Code::PendingTotal);
    fails(&mut chain, 1, decide(first, true), Code::NotSovereign);
    fails(&mut chain, 0, Payload::DepositConfirmation { request: first, confirm: true }, Code::UnknownRequest);
    assert_eq!(chain.send(0, decide(first, true)), Code::Applied);
    assert_eq!((chain.balance(1, "USD"), chain.total("USD")), (500, 99_600));
    assert_eq!(chain.outcome.movements[0].burned, 400);
    assert_eq!(chain.send(0, decide(second, false)), Code::Applied);
    assert_eq!((chain.balance(1, "USD"), chain.total("USD")), (600, 99_600));
}

#[test]
fn currencies() {
    let mut chain = TestChain::new();
    chain.create([1]);
    fails(&mut chain, 1, Payload::CurrencyCreation(currency_info("EUR")), Code::NotSovereign);
    assert_eq!(chain.send(0, Payload::CurrencyCreation(currency_info("EUR"))), Code::Applied);
    fails(&mut chain, 0, Payload::CurrencyCreation(currency_info("EUR")), Code::CurrencyExists);
    assert_eq!(chain.send(0, adjust(1, "EUR", 5_000)), Code::Applied);
    assert_eq!(chain.send(1, pay(0, "EUR", 1_500)), Code::Applied);
    assert_eq!(chain.state.currencies()[2].total, "5.000");
    assert_eq!(chain.balance(0, "EUR"), 1_500);
}

#[test]
fn an_account_holds_64_currencies_and_a_chain_1024() {
    let mut chain = TestChain::new();
    chain.create([1, 2]);
    let code = |number: u32| {
        let letter = |shift: u32| (b'A' + (number / 26u32.pow(shift) % 26) as u8) as char;
        format!("{}{}{}X", letter(2), letter(1), letter(0))
    };
    for number in 0..1_022 {
        assert_eq!(chain.send(0, Payload::CurrencyCreation(currency_info(&code(number)))), Code::Applied);
    }
    fails(&mut chain, 0, Payload::CurrencyCreation(currency_info("LAST")), Code::CurrenciesTotal);
    for number in (0..64).rev() {
        assert_eq!(chain.send(0, adjust(1, &code(number), 10 + u128::from(number))), Code::Applied);
    }
    assert_eq!(chain.state.account(&key(1).to_string()).unwrap().balances.len(), 64);
    fails(&mut chain, 0, pay(1, "USD", 5), Code::TooManyCurrencies);
    fails(&mut chain, 0, adjust(1, "USD", 5), Code::TooManyCurrencies);
    assert_eq!(chain.send(0, adjust(1, "USD", 0)), Code::Applied, "zero needs no room");
    for number in 0..64 {
        assert_eq!(chain.balance(1, &code(number)), 10 + u128::from(number));
    }
    // Emptying an inline slot and one of the overflow makes room for two others, the inline slot first.
    assert_eq!(chain.send(1, pay(2, &code(63), 73)), Code::Applied);
    assert_eq!(chain.send(1, pay(2, &code(5), 15)), Code::Applied);
    assert_eq!(chain.send(0, pay(1, "USD", 5)), Code::Applied);
    assert_eq!(chain.send(1, pay(2, &code(6), 16)), Code::Applied);
    assert_eq!(chain.balance(1, "USD"), 5);
    assert_eq!(chain.state.account(&key(2).to_string()).unwrap().balances.len(), 3);
    assert_eq!(chain.outcome.overflow_changes().count(), 2);
    // Giving everything back removes the overflow of an account that has no name.
    for (number, amount) in [(63, 73), (5, 15), (6, 16)] {
        assert_eq!(chain.send(2, pay(0, &code(number), amount)), Code::Applied);
    }
    let two = chain.state.find(&key(2)).unwrap();
    assert_eq!(chain.state.overflow(two), None);
    assert_eq!(chain.state.account_at(two).unwrap().balances, vec![]);
}

#[test]
fn roles() {
    let mut chain = TestChain::new();
    chain.create([1, 2]);
    let assign = |number, role| Payload::RoleChange { account: key(number), role };
    fails(&mut chain, 1, assign(2, Role::Staff), Code::NotSovereign);
    fails(&mut chain, 0, assign(0, Role::User), Code::SovereignRole);
    fails(&mut chain, 0, assign(9, Role::Staff), Code::UnknownAccount);
    fails(&mut chain, 0, assign(1, Role::User), Code::RoleUnchanged);
    assert_eq!(chain.send(0, assign(1, Role::Staff)), Code::Applied);
    assert_eq!(chain.state.account(&key(1).to_string()).unwrap().role, "staff");
    fails(&mut chain, 0, assign(1, Role::Staff), Code::RoleUnchanged);
    fails(&mut chain, 1, assign(2, Role::Staff), Code::NotSovereign);
    assert_eq!(chain.send(0, assign(1, Role::User)), Code::Applied);
}

#[test]
fn sovereignty_moves_and_there_is_always_one() {
    let mut chain = TestChain::new();
    chain.create([1]);
    let hand_to = |number| Payload::SovereigntyTransfer { account: key(number) };
    fails(&mut chain, 1, hand_to(1), Code::NotSovereign);
    fails(&mut chain, 0, hand_to(9), Code::UnknownAccount);
    fails(&mut chain, 0, hand_to(0), Code::RoleUnchanged);
    assert_eq!(chain.send(0, hand_to(1)), Code::Applied);
    assert_eq!(chain.state.account(&key(0).to_string()).unwrap().role, "user");
    assert_eq!(chain.state.account(&key(1).to_string()).unwrap().role, "sovereign");
    fails(&mut chain, 0, hand_to(1), Code::NotSovereign);
    assert_eq!(chain.send(1, hand_to(0)), Code::Applied);
    assert_eq!(chain.state.sovereign(), 1);
}

#[test]
fn adjustments() {
    let mut chain = TestChain::new();
    chain.create([1]);
    fails(&mut chain, 1, adjust(1, "USD", 1), Code::NotSovereign);
    fails(&mut chain, 0, adjust(9, "USD", 1), Code::UnknownAccount);
    fails(&mut chain, 0, adjust(1, "EUR", 1), Code::UnknownCurrency);
    assert_eq!(chain.send(0, adjust(1, "USD", u128::MAX - 100_000)), Code::Applied);
    assert_eq!(chain.total("USD"), u128::MAX);
    fails(&mut chain, 0, adjust(1, "USD", u128::MAX), Code::AmountOverflow);
    assert_eq!(chain.send(0, adjust(1, "USD", 7)), Code::Applied);
    assert_eq!((chain.balance(1, "USD"), chain.total("USD")), (7, 100_007));
    assert_eq!(chain.outcome.movements[0].burned, u128::MAX - 100_007);
    assert_eq!(chain.send(0, adjust(1, "USD", 7)), Code::Applied, "to what it is");
}

#[test]
fn validator_sets() {
    let mut chain = TestChain::new();
    chain.create([1]);
    let change = |add, number, epoch| Payload::ValidatorSetChange {
        add,
        validator: validator_key(number),
        epoch,
        address: if add { "host:1" } else { "" },
    };
    let genesis_hash = chain.state.validator_set_hash(0);
    fails(&mut chain, 1, change(true, 5, 2), Code::NotSovereign);
    fails(&mut chain, 0, change(true, 5, 1), Code::EpochPast);
    fails(&mut chain, 0, change(false, 5, 2), Code::UnknownValidator);
    fails(&mut chain, 0, change(true, 1_000_000, 2), Code::ValidatorExists);
    fails(&mut chain, 0, change(false, 1_000_000, 2), Code::LastValidator);
    assert_eq!(chain.send(0, change(true, 5, 3)), Code::Applied);
    // Epoch 4 would be without anybody, and an earlier addition would make the later one a second.
    assert_eq!(chain.send(0, change(false, 1_000_000, 4)), Code::Applied);
    fails(&mut chain, 0, change(false, 5, 4), Code::LastValidator);
    while chain.state.progress().height < 9 {
        chain.block(&[]);
    }
    fails(&mut chain, 0, change(true, 5, 2), Code::ValidatorExists);
    fails(&mut chain, 0, change(true, 6, 2), Code::EpochPast);
    assert_eq!(chain.state.epoch_of(chain.state.progress().height), 1, "so 3 is the earliest epoch now");
    assert_eq!(chain.send(0, change(true, 6, 3)), Code::Applied);
    fails(&mut chain, 0, change(true, 7, 3), Code::ValidatorsTotal);
    let keys = |chain: &TestChain, epoch| -> Vec<_> {
        chain.state.validators(epoch).into_iter().map(|member| member.key).collect()
    };
    assert_eq!(keys(&chain, 1), [validator_key(1_000_000)]);
    assert_eq!(keys(&chain, 2), [validator_key(1_000_000)]);
    assert_eq!(keys(&chain, 3), [validator_key(1_000_000), validator_key(5), validator_key(6)]);
    assert_eq!(keys(&chain, 9), [validator_key(5), validator_key(6)]);
    assert_eq!(chain.state.validator_set_hash(1), genesis_hash);
    let planned = chain.state.validator_set_hash(4);
    let mark = chain.state.progress().lane_marks[&0];
    while chain.state.epoch_of(chain.state.progress().height) < 4 {
        chain.block(&[]);
    }
    assert_eq!(chain.state.validator_set_hash(4), planned);
    assert!(chain.state.validator_changes().is_empty());
    assert!(mark > 0 && chain.state.progress().lane_marks.is_empty(), "the lane of the removed validator is gone");
    let until = 41 + chain.genesis.rules.batch_expiry_blocks;
    let floors = LaneFloors::from([(validator_key(1_000_000).0, LaneFloor { mark, until })]);
    assert_eq!(chain.state.progress().lane_floors, floors, "and what it listed is not forgotten");
    while chain.state.progress().height < until.next_multiple_of(10) {
        assert_eq!(chain.state.progress().lane_floors, floors);
        chain.block(&[]);
    }
    chain.block(&[]);
    assert!(chain.state.progress().lane_floors.is_empty(), "until none of it can be listed");
    fails(&mut chain, 0, change(true, 8, 5), Code::EpochPast);
}
