//! Tokens: what counts, and every reason why one does not.
#![allow(clippy::unwrap_used)]

use axum::http::StatusCode;
use proptest::prelude::*;

use super::*;
use crate::error::ApiError;

/// 2026-11-20T22:31:36Z.
const NOW: u64 = 1_795_213_896_000;
const NODE: &str = "val_03a10743";

/// Signed by OpenSSL over the pre-authentication encoding, with the key of [`key`].
const KNOWN: &str = "v4.public.eyJzZXJ2aWNlIjoibGVkZ2VyIiwiaXNzIjoidmFsXzAzYTEwNzQzIiwiYXVkIjoibWVzaCIsImlhdCI6IjIwMjYtMTEtMjBUMjI6MzE6MzZaIiwiZXhwIjoiMjAyNi0xMS0yMFQyMzozMTozNloifeZn7CGd_ULweEGcwCSf0cn5ThnutIsjPGsWuDmTRGNWTUpuO6bNjWjT1HNfE2apc3M3iVFKoIFapCeVvYiJWgY";
/// The same with the footer `foot`, and a signature that covers it.
const WITH_FOOTER: &str = "v4.public.eyJzZXJ2aWNlIjoibGVkZ2VyIiwiaXNzIjoidmFsXzAzYTEwNzQzIiwiYXVkIjoibWVzaCIsImlhdCI6IjIwMjYtMTEtMjBUMjI6MzE6MzZaIiwiZXhwIjoiMjAyNi0xMS0yMFQyMzozMTozNloifYmfpc3HJdA_sIiHSGjgIx5FC6lvyTqD8_i0asg4wr4W674fpzYErOMPGaG2L0qVXEr7F5gYVyNSwNLV6-sMBAM.Zm9vdA";

fn key() -> SigningKey {
    SigningKey::from_bytes(&std::array::from_fn(|n| u8::try_from(n).unwrap()))
}

fn claims() -> Claims {
    Claims::new(Service::Ledger, NODE, "mesh", NOW)
}

fn standing(status: NodeStatus) -> impl FnOnce(&str) -> Option<NodeStanding> {
    move |node| (node == NODE).then(|| NodeStanding { key: PublicKey(key().verifying_key().to_bytes()), status })
}

fn check(token: &str, now_ms: u64) -> Result<Claims, TokenError> {
    verify(token, "mesh", now_ms, standing(NodeStatus::Active))
}

#[test]
fn a_token_is_what_others_would_make() {
    assert_eq!(issue(&key(), &claims()).unwrap(), KNOWN);
    assert_eq!(inspect(KNOWN), Ok(claims()));
    assert_eq!(check(KNOWN, NOW), Ok(claims()));
    assert_eq!(Claims::new(Service::Ledger, NODE, "mesh", NOW + 999), claims(), "times are whole seconds");
}

#[test]
fn it_counts_from_its_hour_on_until_it_expires() {
    let token = issue(&key(), &claims()).unwrap();
    assert_eq!(check(&token, NOW - SKEW_MS), Ok(claims()), "clocks may differ by a minute");
    assert_eq!(check(&token, NOW - SKEW_MS - 1), Err(TokenError::FromTheFuture { ahead_ms: SKEW_MS + 1 }));
    assert_eq!(check(&token, NOW + LIFETIME_MS - 1), Ok(claims()));
    assert_eq!(check(&token, NOW + LIFETIME_MS), Err(TokenError::Expired { ago_ms: 0 }));
    assert_eq!(check(&token, u64::MAX), Err(TokenError::Expired { ago_ms: u64::MAX - NOW - LIFETIME_MS }));
    assert!(matches!(check(&token, 0), Err(TokenError::FromTheFuture { .. })));
}

#[test]
fn a_life_of_nothing_or_of_more_than_a_day_is_none() {
    for lifetime in [0, LIFETIME_MS_MAX + 1, u64::MAX] {
        assert_eq!(issue(&key(), &claims().lasting(lifetime)), Err(TokenError::Lifetime), "{lifetime}");
    }
    assert!(issue(&key(), &claims().lasting(LIFETIME_MS_MAX)).is_ok());
    // Signed by the node all the same: it is judged again where it is received.
    let endless = forge(
        r#"{"service":"ledger","iss":"val_03a10743","aud":"mesh","iat":"2026-11-20T22:31:36Z","exp":"2027-11-20T22:31:36Z"}"#,
    );
    assert_eq!(check(&endless, NOW), Err(TokenError::Lifetime));
}

#[test]
fn it_counts_for_its_audience_alone() {
    let wrong = verify(KNOWN, "ledger", NOW, standing(NodeStatus::Active)).unwrap_err();
    assert_eq!(wrong, TokenError::WrongAudience { expected: "ledger".to_owned(), found: "mesh".to_owned() });
    assert_eq!(ApiError::from(wrong).status, StatusCode::FORBIDDEN);
}

#[test]
fn only_an_active_node_is_listened_to() {
    for status in [NodeStatus::Pending, NodeStatus::Denied, NodeStatus::Offline] {
        let wrong = verify(KNOWN, "mesh", NOW, standing(status)).unwrap_err();
        assert_eq!(wrong, TokenError::NotActive { node: NODE.to_owned(), status });
        let answer = ApiError::from(wrong);
        assert_eq!((answer.status, answer.code), (StatusCode::FORBIDDEN, "token_node_not_active"));
        assert!(answer.message.contains(status.name()), "{answer}");
    }
    let unknown = verify(KNOWN, "mesh", NOW, |_| None).unwrap_err();
    assert_eq!(unknown, TokenError::UnknownNode(NODE.to_owned()));
    assert_eq!(ApiError::from(unknown).status, StatusCode::UNAUTHORIZED);
}

#[test]
fn it_must_be_signed_by_the_node_that_it_names() {
    let by_another = issue(&SigningKey::from_bytes(&[9; 32]), &claims()).unwrap();
    assert_eq!(check(&by_another, NOW), Err(TokenError::BadSignature));
    // A node whose status is bad and whose signature too is told of the signature: nothing else is given away.
    assert_eq!(verify(&by_another, "x", 0, standing(NodeStatus::Denied)), Err(TokenError::BadSignature));
    // For this key everybody could sign.
    let weak = NodeStanding { key: PublicKey([0; 32]), status: NodeStatus::Active };
    assert_eq!(verify(KNOWN, "mesh", NOW, |_| Some(weak)), Err(TokenError::Key));
}

#[test]
fn no_letter_can_be_changed() {
    for at in PublicToken::HEADER.len()..KNOWN.len() {
        for new in ["A", "B", "_", "."] {
            let mut changed = KNOWN.to_owned();
            changed.replace_range(at..=at, new);
            if changed != KNOWN {
                assert!(check(&changed, NOW).is_err(), "{changed}");
            }
        }
    }
}

/// Signs any payload with the node's key.
fn forge(payload: &str) -> String {
    let secret = AsymmetricSecretKey::<V4>::from(&key().to_keypair_bytes()).unwrap();
    PublicToken::sign(&secret, payload.as_bytes(), None, None).unwrap()
}

#[test]
fn other_payloads_are_none_even_when_they_are_signed() {
    let good = r#"{"service":"ledger","iss":"val_03a10743","aud":"mesh","iat":"2026-11-20T22:31:36Z","exp":"2026-11-20T23:31:36Z"}"#;
    assert_eq!(check(&forge(good), NOW), Ok(claims()));
    let offset = good.replace("2026-11-20T22:31:36Z", "2026-11-21T00:31:36+02:00");
    assert_eq!(check(&forge(&offset), NOW), Ok(claims()), "the same moment in another zone");
    for (old, new) in [
        ("ledger", "t4"),
        (r#""service":"ledger","#, ""),
        (r#""iss":"val_03a10743","#, ""),
        (r#""aud":"mesh","#, ""),
        (r#""aud":"mesh""#, r#""aud":["mesh"]"#),
        (r#""aud":"mesh""#, r#""aud":"mesh","aud":"mesh""#),
        (r#""aud":"mesh""#, r#""aud":"mesh","nbf":"2030-01-01T00:00:00Z""#),
        ("val_03a10743", ""),
        ("val_03a10743", "val 03a10743"),
        ("val_03a10743", r"val\n03a10743"),
        ("2026-11-20T23:31:36Z", "2026-11-20 at night"),
        (r#""2026-11-20T23:31:36Z""#, "1795217496"),
        ("2026-11-20T22:31:36Z", "1969-12-31T23:59:59Z"),
        ("}", "}x"),
        ("{", "[{"),
    ] {
        let payload = good.replacen(old, new, 1);
        assert_ne!(payload, good);
        let error = check(&forge(&payload), NOW).unwrap_err();
        assert!(matches!(error, TokenError::Malformed(_)), "{payload}: {error}");
    }
    let long = good.replace("mesh", &"m".repeat(129));
    assert!(matches!(check(&forge(&long), NOW), Err(TokenError::Malformed(_))));
    let longest = Claims::new(Service::Notifications, "n".repeat(128), "a".repeat(128), NOW);
    assert!(issue(&key(), &longest).unwrap().len() < TOKEN_BYTES_MAX);
}

#[test]
fn what_is_no_token_is_told_so() {
    let long = format!("{KNOWN}{}", "A".repeat(TOKEN_BYTES_MAX));
    for text in
        ["", "x", "v4.public.", "v4.public.AAAA", "v4.local.AAAA", "v2.public.AAAA", "v4.public.é", WITH_FOOTER, &long]
    {
        let error = check(text, NOW).unwrap_err();
        assert!(matches!(error, TokenError::Malformed(_)), "{text}: {error}");
        assert_eq!(ApiError::from(error).status, StatusCode::UNAUTHORIZED);
    }
    assert!(check(&format!("{KNOWN}."), NOW).is_err());
    assert!(check(&format!("{KNOWN}="), NOW).is_err());
}

proptest! {
    #[test]
    fn any_text_is_refused_without_harm(text in "(v4\\.public\\.)?[ -~é]{0,200}") {
        prop_assert!(check(&text, NOW).is_err());
    }

    #[test]
    fn any_claims_come_back(
        node in "[0-9A-Za-z._:-]{1,128}",
        audience in "[0-9A-Za-z._:-]{1,128}",
        service in 0_usize..6,
        now in 0..200_000_000_000_000_u64,
        lifetime in 1..=LIFETIME_MS_MAX,
    ) {
        let claims = Claims::new(Service::ALL[service], node, audience, now).lasting(lifetime);
        let token = issue(&key(), &claims).unwrap();
        prop_assert_eq!(inspect(&token), Ok(claims));
    }
}
