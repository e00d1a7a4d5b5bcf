//! Each refusal with its code, and what a refusal must never do to others.

mod support;

use std::sync::atomic::{AtomicU64, Ordering};

use support::*;
use tana_ingest::{
    Admission, AdmissionConfig, BatchLimits, Batcher, ConfigError, DUPLICATE_LIFETIME_NS, Moment, NONCE_WINDOW,
};
use tana_types::account::NO_ACCOUNT;
use tana_types::code::Code;
use tana_types::genesis::Rules;
use tana_types::payload::{Kind, Payload};

fn with(kind: Kind, nonce: u64, payload: &[u8]) -> Vec<u8> {
    raw(kind as u8, chain().tag(), 2, nonce, WALL_MS, payload, 1)
}

#[test]
fn a_good_transfer_is_admitted_with_its_account_and_origin() {
    let mut shard = shard();
    assert_eq!(shard.judge(&transfer(4, 11)), Ok(()));
    shard.flush();
    let batch = &shard.port.left[0];
    assert_eq!((batch.len(), batch.number, batch.arrived_ns, batch.suspect), (1, 0, NOW.engine_ns, false));
    let entry = batch.entries()[0];
    assert_eq!(
        (entry.sender, entry.origin.stream, entry.origin.source, entry.origin.sequence),
        (shard.index(4), 7, 3, 0)
    );
    assert_eq!(batch.transaction(0).bytes(), transfer(4, 11));
}

#[test]
fn a_node_outside_the_validator_set_takes_nothing_in() {
    let mut shard = shard();
    shard.admission.set_validating(false);
    assert_eq!(shard.judge(&transfer(4, 11)), Err(Code::NotValidator));
    assert_eq!(shard.judge(&creation(99)), Err(Code::NotValidator));
    shard.admission.set_validating(true);
    assert_eq!(shard.judge(&transfer(4, 11)), Ok(()), "nothing was remembered of the refusal");
}

#[test]
fn another_chain_is_refused() {
    let other = raw(Kind::Transfer as u8, chain().tag() ^ 1, 2, 11, WALL_MS, &transfer_payload(), 1);
    assert_eq!(shard().judge(&other), Err(Code::WrongChain));
}

#[test]
fn kinds_and_payloads_are_checked() {
    let mut shard = shard();
    for kind in [0, 12, 255] {
        let unknown = raw(kind, chain().tag(), 2, 11, WALL_MS, &transfer_payload(), 1);
        assert_eq!(shard.judge(&unknown), Err(Code::Malformed), "kind {kind}");
    }
    let mut payload = transfer_payload();
    assert_eq!(shard.judge(&with(Kind::Transfer, 11, &payload[..59])), Err(Code::Malformed));
    payload.push(0);
    assert_eq!(shard.judge(&with(Kind::Transfer, 11, &payload)), Err(Code::Malformed));
    payload.pop();
    payload[32] = b'u';
    assert_eq!(shard.judge(&with(Kind::Transfer, 11, &payload)), Err(Code::Malformed));
    assert_eq!(shard.judge(&with(Kind::RoleChange, 11, &[0; 32])), Err(Code::Malformed));
    let role_of_sovereign = [&[0; 32][..], &[2]].concat();
    assert_eq!(shard.judge(&with(Kind::RoleChange, 11, &role_of_sovereign)), Err(Code::Malformed));
    let usd = "USD".parse().unwrap();
    let deposit = Payload::Deposit { currency: usd, amount: 1 }.encode().unwrap();
    assert_eq!(shard.judge(&with(Kind::Deposit, 11, &deposit)), Ok(()));
}

#[test]
fn the_inline_check_of_transfers_agrees_with_the_decoder() {
    let mut shard = shard();
    let good = transfer_payload();
    for position in 0..good.len() {
        for byte in [0, b'A', b'a', 255] {
            let mut payload = good.clone();
            payload[position] = byte;
            let decodes = Payload::decode(Kind::Transfer, &payload).is_ok();
            let verdict = shard.judge(&with(Kind::Transfer, 11, &payload));
            assert_eq!(verdict != Err(Code::Malformed), decodes, "byte {byte} at {position}");
        }
    }
}

#[test]
fn the_clock_window_has_two_ends() {
    let mut shard = shard();
    let window = Rules::default().transaction_window_ms;
    let at = |timestamp| raw(Kind::Transfer as u8, chain().tag(), 2, 11, timestamp, &transfer_payload(), 1);
    assert_eq!(shard.judge(&at(WALL_MS - window)), Ok(()));
    assert_eq!(shard.judge(&at(WALL_MS + window)), Ok(()));
    assert_eq!(shard.judge(&at(WALL_MS - window - 1)), Err(Code::ClockWindow));
    assert_eq!(shard.judge(&at(WALL_MS + window + 1)), Err(Code::ClockWindow));
    assert_eq!(shard.judge(&at(u64::MAX)), Err(Code::ClockWindow));
    assert_eq!(shard.judge(&at(0)), Err(Code::ClockWindow));
}

#[test]
fn nonces_are_judged_by_the_executed_state_only() {
    let mut shard = shard();
    assert_eq!(shard.judge(&transfer(99, 1)), Err(Code::SenderUnknown));
    assert_eq!(shard.judge(&transfer(2, 0)), Err(Code::NonceUsed));
    assert_eq!(shard.judge(&transfer(2, 10)), Err(Code::NonceUsed));
    assert_eq!(shard.judge(&transfer(2, 10 + NONCE_WINDOW)), Ok(()));
    assert_eq!(shard.judge(&transfer(2, 11 + NONCE_WINDOW)), Err(Code::NonceTooFar));
    assert_eq!(shard.judge(&transfer(2, u64::MAX)), Err(Code::NonceTooFar));
    assert_eq!(shard.judge(&transfer(2, 11)), Ok(()));
    shard.set_nonce(2, 11);
    assert_eq!(shard.judge(&transfer(2, 11)), Err(Code::NonceUsed));
    assert_eq!(shard.judge(&transfer(2, 11 + NONCE_WINDOW)), Ok(()));
}

#[test]
fn creations_have_rules_and_a_cap_of_their_own() {
    let mut shard = shard();
    assert_eq!(shard.judge(&creation(3)), Err(Code::AccountExists));
    let payload = creation(50)[56..60].to_vec();
    assert_eq!(shard.judge(&raw(1, chain().tag(), 50, 1, WALL_MS, &payload, 1)), Err(Code::Malformed));
    assert_eq!(shard.judge(&creation(50)), Ok(()));
    assert_eq!(shard.judge(&creation(50)), Err(Code::Resent));
    assert_eq!(shard.judge(&creation(51)), Ok(()));
    assert_eq!(shard.judge(&creation(52)), Err(Code::CreationBusy));
    assert_eq!(shard.admission.creations().in_flight(), 2);
    let later = Moment { engine_ns: NOW.engine_ns + 1_000_000_000, ..NOW };
    assert_eq!(shard.judge_at(&creation(52), later), Ok(()), "a refused creation is not remembered");
    assert!(shard.flush()[0].entries().iter().all(|entry| entry.sender == NO_ACCOUNT));
}

#[test]
fn copies_are_refused_until_they_expire() {
    let mut shard = shard();
    assert_eq!(shard.judge(&transfer(2, 11)), Ok(()));
    let at = |engine_ns| Moment { engine_ns, ..NOW };
    assert_eq!(shard.judge_at(&transfer(2, 11), at(DUPLICATE_LIFETIME_NS - 1)), Err(Code::Resent));
    assert_eq!(shard.judge_at(&transfer(2, 11), at(DUPLICATE_LIFETIME_NS)), Ok(()));
    assert_eq!(shard.admission.counters().rejected(Code::Resent), 1);
}

#[test]
fn a_copy_with_a_broken_signature_does_not_shut_out_the_real_one() {
    let mut shard = shard();
    let real = transfer(2, 11);
    for signature in 2..200 {
        let mut broken = real.clone();
        broken[116..].fill(signature);
        assert_eq!(shard.judge(&broken), Ok(()));
    }
    assert_eq!(shard.judge(&real), Ok(()));
}

#[test]
fn refusals_are_not_remembered_as_copies() {
    let mut shard = shard();
    assert_eq!(shard.judge(&transfer(2, 11 + NONCE_WINDOW)), Err(Code::NonceTooFar));
    shard.set_nonce(2, 11);
    assert_eq!(shard.judge(&transfer(2, 11 + NONCE_WINDOW)), Ok(()));
}

#[test]
fn counters_tell_every_code() {
    let mut shard = shard();
    let frame = [transfer(2, 11), transfer(2, 11), transfer(99, 1), transfer(2, 10), transfer(3, 11)].concat();
    let offered = shard.offer(&frame);
    assert_eq!((offered.transactions, offered.accepted), (5, 2));
    let codes: Vec<_> = shard.admission.counters().rejected_by_code().collect();
    assert_eq!(codes, [(Code::SenderUnknown, 1), (Code::NonceUsed, 1), (Code::Resent, 1)]);
    let sequences: Vec<_> = shard.rejected.iter().map(|rejection| (rejection.sequence, rejection.code)).collect();
    assert_eq!(sequences, [(1, Code::Resent), (2, Code::SenderUnknown), (3, Code::NonceUsed)]);
    let counters = shard.admission.counters();
    assert_eq!((counters.accepted(), counters.accepted_bytes()), (2, 360));
}

#[test]
fn settings_out_of_range_are_named() {
    let (_writer, reader) = accounts(1);
    let try_with = |config: AdmissionConfig| Admission::new(&config, &chain(), &Rules::default(), reader.clone()).err();
    assert_eq!(try_with(AdmissionConfig { nonce_window: 0, ..config() }), Some(ConfigError::NonceWindow));
    assert_eq!(try_with(AdmissionConfig { duplicate_slots: 3, ..config() }), Some(ConfigError::DuplicateSlots(3)));
    let limits = |transactions, body_bytes| Batcher::new(BatchLimits { transactions, body_bytes }).err();
    assert_eq!(limits(0, 4_096), Some(ConfigError::BatchTransactions(0)));
    assert_eq!(limits(4_097, 4_096), Some(ConfigError::BatchTransactions(4_097)));
    assert_eq!(limits(1, 1_399), Some(ConfigError::BatchBodyBytes(1_399)));
    assert_eq!(limits(1, 1_400), None);
}

#[test]
fn of_two_threads_with_the_same_bytes_one_is_admitted() {
    let roomy = AdmissionConfig { duplicate_slots: 1 << 18, ..config() };
    let shard = shard_with(BatchLimits::default(), &roomy);
    let frame: Vec<u8> = (0..2_000).flat_map(|number| transfer(number % 10, 11 + number / 10)).collect();
    let accepted = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let mut batcher = Batcher::new(BatchLimits::default()).unwrap();
                let mut port = Port { available: 100, ..Port::default() };
                let mut rejected = Vec::new();
                let offered = batcher.offer(&shard.admission, &CLEAN, &frame, NOW, &mut port, &mut rejected);
                assert_eq!(offered.accepted + rejected.len() as u64, 2_000);
                assert!(rejected.iter().all(|rejection| rejection.code == Code::Resent));
                accepted.fetch_add(offered.accepted, Ordering::Relaxed);
            });
        }
    });
    assert_eq!(accepted.load(Ordering::Relaxed), 2_000);
}
