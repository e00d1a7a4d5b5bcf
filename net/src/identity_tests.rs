//! The certificate carries the key, and the pin accepts that key only.

use super::*;

fn verify(
    pin: ServerPin,
    certificate: &CertificateDer<'_>,
) -> (Result<ServerCertVerified, rustls::Error>, Option<[u8; 32]>) {
    let (_, verifier) = client_tls(pin, ALPN).unwrap();
    let name = ServerName::try_from(SERVER_NAME).unwrap();
    (verifier.verify_server_cert(certificate, &[], &name, &[], UnixTime::now()), verifier.seen())
}

#[test]
fn the_certificate_is_about_the_key() {
    let identity = Identity::from_seed(&[7; 32]).unwrap();
    let key = SigningKey::from_bytes(&[7; 32]);
    assert_eq!(identity.public_key(), key.verifying_key().to_bytes());
    assert_eq!(subject_key(identity.certificate()).unwrap(), Some(identity.public_key()));
    assert_eq!(Identity::from_signing_key(&key).unwrap().public_key(), identity.public_key());
    assert!(identity.server_tls(ALPN).is_ok());
}

#[test]
fn a_pin_accepts_its_key_only() {
    let (one, two) = (Identity::from_seed(&[1; 32]).unwrap(), Identity::from_seed(&[2; 32]).unwrap());
    assert!(verify(ServerPin::Key(one.public_key()), one.certificate()).0.is_ok());
    let (verdict, seen) = verify(ServerPin::Key(one.public_key()), two.certificate());
    assert!(verdict.is_err());
    assert_eq!(seen, Some(two.public_key()));
    assert!(verify(ServerPin::Insecure, two.certificate()).0.is_ok());
}

#[test]
fn keys_of_other_kinds_and_garbage_are_refused() {
    let pair = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
    let certificate = rcgen::CertificateParams::new(vec!["x".to_owned()]).unwrap().self_signed(&pair).unwrap();
    assert!(verify(ServerPin::Key([0; 32]), certificate.der()).0.is_err());
    for length in [0, 1, 50, 300] {
        assert!(verify(ServerPin::Insecure, &CertificateDer::from(vec![0x30; length])).0.is_err());
    }
    let good = Identity::from_seed(&[3; 32]).unwrap();
    for length in 0..good.certificate().len() {
        assert!(verify(ServerPin::Insecure, &CertificateDer::from(good.certificate()[..length].to_vec())).0.is_err());
    }
}

#[test]
fn the_private_key_is_not_printed() {
    let text = format!("{:?}", Identity::from_seed(&[9; 32]).unwrap());
    assert!(!text.contains("private"), "{text}");
}
