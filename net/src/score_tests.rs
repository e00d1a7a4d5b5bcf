//! The rules of the score, without a clock.

use super::*;
use std::net::Ipv4Addr;

fn score() -> SourceScore {
    SourceScore::new(IpAddr::V4(Ipv4Addr::LOCALHOST), Arc::new(Limits::default()), Clock::start())
}

#[test]
fn levels_follow_the_points() {
    let score = score();
    assert_eq!(score.report_at(0, 31, 0), Standing::Good);
    assert_eq!(score.report_at(0, 1, 0), Standing::Suspect);
    assert!(score.is_suspect());
    assert_eq!(score.report_at(0, 480, 0), Standing::Slow);
    assert_eq!(score.report_at(0, 4_000, 0), Standing::Banned);
    assert_eq!((score.good(), score.bad()), (0, 4_512));
}

#[test]
fn an_honest_address_with_few_bad_ones_never_feels_it() {
    let score = score();
    for second in 0..10_000 {
        assert_eq!(score.report_at(0, 10, second * 1_000), Standing::Good, "10 bad a second at {second} s");
    }
    for batch in 0..10_000 {
        assert_eq!(score.report_at(512, u64::from(batch % 2 == 0), 10_000_000), Standing::Good, "1 in 1,024");
    }
}

#[test]
fn levels_end_at_half_of_their_threshold() {
    let score = score();
    score.report_at(0, 40, 0);
    assert_eq!(score.standing_at(2_400), Standing::Suspect, "16 points are left");
    assert_eq!(score.standing_at(2_500), Standing::Good, "15 points are left");
    assert!(!score.is_suspect());
}

#[test]
fn bans_end_by_time_and_double() {
    let score = score();
    let mut now_ms = 0;
    for ban in 0..8u32 {
        assert_eq!(score.report_at(0, 1_000_000, now_ms), Standing::Banned);
        let length_ms = 60_000u64 << ban.min(4);
        assert_eq!(score.standing_at(now_ms + length_ms - 1), Standing::Banned, "ban {ban}");
        now_ms += length_ms;
        assert!(score.standing_at(now_ms) <= Standing::Slow, "ban {ban} has ended");
    }
}

#[test]
fn good_transactions_do_not_end_a_ban() {
    let score = score();
    score.report_at(0, 5_000, 0);
    assert_eq!(score.report_at(1_000_000_000, 0, 1), Standing::Banned);
}

#[test]
fn handshakes_leak_at_their_rate() {
    let score = score();
    let accepted = (0..1_000).filter(|_| score.count_handshake(0)).count();
    assert_eq!(accepted, 512);
    let accepted = (0..1_000).filter(|_| score.count_handshake(1_000)).count();
    assert_eq!(accepted, 64);
}

#[test]
fn addresses_are_grouped() {
    let key = |text: &str| source_key(text.parse().unwrap());
    assert_eq!(key("2001:db8:1:2:3::4"), key("2001:db8:1:2:ffff::"));
    assert_ne!(key("2001:db8:1:2::"), key("2001:db8:1:3::"));
    assert_eq!(key("::ffff:10.0.0.1"), key("10.0.0.1"));
    assert_ne!(key("127.0.0.1"), key("127.0.0.2"));
}
