//! The admission rules and the bound of the table.

use super::*;
use std::net::Ipv4Addr;

fn table(change: impl FnOnce(&mut Limits)) -> Arc<SourceTable> {
    let mut limits = Limits::default();
    change(&mut limits);
    Arc::new(SourceTable::new(Arc::new(limits), Clock::start()))
}

fn ip(number: u32) -> IpAddr {
    IpAddr::V4(Ipv4Addr::from(0x0a00_0000 + number))
}

fn accept(table: &Arc<SourceTable>, number: u32) -> Slot {
    match table.admit_at(ip(number), true, 0) {
        Admission::Accept(mut slot) => {
            slot.established();
            slot
        }
        other => panic!("{number} was not accepted: {other:?}"),
    }
}

fn refusal(admission: Admission) -> Option<Refusal> {
    match admission {
        Admission::Refuse(reason) => Some(reason),
        _ => None,
    }
}

#[test]
fn shares_are_per_ip_and_in_all() {
    let table = table(|limits| (limits.connections_per_ip_max, limits.connections_max) = (2, 3));
    let mut slots = vec![accept(&table, 1), accept(&table, 1)];
    assert_eq!(refusal(table.admit_at(ip(1), true, 0)), Some(Refusal::PerIp));
    slots.push(accept(&table, 2));
    assert_eq!(refusal(table.admit_at(ip(3), true, 0)), Some(Refusal::Full));
    slots.clear();
    assert_eq!(table.connections(), 0);
    assert!(matches!(table.admit_at(ip(3), true, 0), Admission::Accept(_)));
}

#[test]
fn unproven_addresses_cannot_fill_anybodys_share() {
    let table = table(|limits| (limits.connections_per_ip_before_retry, limits.handshakes_before_retry) = (2, 3));
    let _pending: Vec<_> = (0..2).map(|_| table.admit_at(ip(1), false, 0)).collect();
    assert!(matches!(table.admit_at(ip(1), false, 0), Admission::Validate));
    let _third = table.admit_at(ip(2), false, 0);
    assert!(matches!(table.admit_at(ip(3), false, 0), Admission::Validate), "three handshakes are under way");
    assert!(matches!(table.admit_at(ip(3), true, 0), Admission::Accept(_)));
}

#[test]
fn a_banned_address_is_refused_until_its_ban_ends() {
    let table = table(|_| ());
    let slot = accept(&table, 1);
    slot.score().report_at(0, 10_000, 0);
    drop(slot);
    assert_eq!(refusal(table.admit_at(ip(1), true, 59_999)), Some(Refusal::Banned));
    assert!(matches!(table.admit_at(ip(2), true, 0), Admission::Accept(_)), "others do not feel it");
    assert!(matches!(table.admit_at(ip(1), true, 60_000), Admission::Accept(_)));
}

#[test]
fn clean_addresses_are_forgotten_at_once_and_the_rest_is_bounded() {
    let table = table(|limits| (limits.sources_max, limits.handshakes_per_ip_per_second) = (8, u64::MAX));
    // Unconfirmed addresses leave nothing behind, whatever they were.
    for number in 0..100 {
        drop(table.admit_at(ip(number), true, 0));
    }
    assert_eq!(table.len(), 0);
    for number in 0..100 {
        accept(&table, number).score().report_at(0, if number == 3 { 100_000 } else { 300 }, 0);
    }
    assert_eq!(table.len(), 8);
    assert!(table.score(ip(3)).is_some(), "a ban outlives mere suspicion");
    assert!(table.score(ip(99)).is_some());
}

#[test]
fn handshakes_are_limited_per_address() {
    let table = table(|limits| limits.handshakes_per_ip_burst = 5);
    for _ in 0..5 {
        drop(accept(&table, 1));
    }
    assert_eq!(refusal(table.admit_at(ip(1), true, 0)), Some(Refusal::Rate));
    assert!(matches!(table.admit_at(ip(2), true, 0), Admission::Accept(_)));
}
