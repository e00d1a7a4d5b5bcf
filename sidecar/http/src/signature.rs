//! Signatures over texts: Ed25519 over the SHA-256 of a UTF-8 text, printed as hexadecimal digits behind a prefix.
//!
//! What is signed is always the 32 bytes of the hash, never the text itself: the rule of the system that this one takes the place of, so its
//! tools can make such signatures. This is *not* how a transaction is signed.

use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};
use sha2::{Digest, Sha256};
use tana_types::key::{KEY_PREFIX, PublicKey, SIGNATURE_PREFIX};
use thiserror::Error;

/// Bytes of a signature.
pub const SIGNATURE_BYTES: usize = 64;

/// Why a signature does not count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum SignatureError {
    /// An odd number of digits: no whole number of bytes.
    #[error("the signature has an odd number of digits; it must be `ed25519_sig_` and 128 hexadecimal digits")]
    OddLength,
    /// Something else than hexadecimal digits.
    #[error("the signature is not hexadecimal; it must be `ed25519_sig_` and 128 hexadecimal digits")]
    NotHex,
    /// Another number of bytes than 64.
    #[error("the signature has another length than 64 bytes; it must be `ed25519_sig_` and 128 hexadecimal digits")]
    Length,
    /// The bytes of the key are no point of the curve, not its one encoding, or a point of small order, for which anybody can sign.
    #[error("the public key is none that somebody can sign with")]
    Key,
    /// All is well formed, but the key did not sign this text.
    #[error("the signature was not made over this text by this key")]
    Mismatch,
}

/// Signs `text` (the SHA-256 of its UTF-8 bytes). Returns `ed25519_sig_` and 128 hexadecimal digits.
pub fn sign_text(key: &SigningKey, text: &str) -> String {
    let signature = key.sign(&hash(text)).to_bytes();
    let mut printed = [0; SIGNATURE_PREFIX.len() + 2 * SIGNATURE_BYTES];
    let (prefix, digits) = printed.split_at_mut(SIGNATURE_PREFIX.len());
    prefix.copy_from_slice(SIGNATURE_PREFIX.as_bytes());
    hex::encode_to_slice(signature, digits).expect("there is room for two digits a byte");
    String::from_utf8_lossy(&printed).into_owned()
}

/// Checks that `key` signed `text`. The signature may begin with `ed25519_sig_`, with `ed25519_` or with its first digit.
///
/// Strict: no key of small order, no key or signature in another than its one encoding, no commitment of small order.
pub fn verify_text(key: &PublicKey, text: &str, signature: &str) -> Result<(), SignatureError> {
    let signature = Signature::from_bytes(&parse_signature(signature)?);
    let verifying = VerifyingKey::from_bytes(&key.0).map_err(|_| SignatureError::Key)?;
    if verifying.is_weak() || verifying.to_edwards().compress().to_bytes() != key.0 {
        return Err(SignatureError::Key);
    }
    verifying.verify_strict(&hash(text), &signature).map_err(|_| SignatureError::Mismatch)
}

/// Reads the 64 bytes of a printed signature. The longest prefix that fits is taken off first.
pub fn parse_signature(text: &str) -> Result<[u8; SIGNATURE_BYTES], SignatureError> {
    let digits = text.strip_prefix(SIGNATURE_PREFIX).or_else(|| text.strip_prefix(KEY_PREFIX)).unwrap_or(text);
    let mut bytes = [0; SIGNATURE_BYTES];
    match hex::decode_to_slice(digits, &mut bytes) {
        Ok(()) => Ok(bytes),
        Err(_) if !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) => Err(SignatureError::NotHex),
        Err(hex::FromHexError::OddLength) => Err(SignatureError::OddLength),
        Err(_) => Err(SignatureError::Length),
    }
}

/// What is signed in place of a text.
fn hash(text: &str) -> [u8; 32] {
    Sha256::digest(text.as_bytes()).into()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    /// The key with the seed 00, 01, .. 1f, and what OpenSSL signs with it over the SHA-256 of each text.
    const VECTORS: [(&str, &str); 3] = [
        (
            "heartbeat:val_03a10743:1795213896123",
            "03698d7849f8c89bfe04b1a6bff555a604bdf025280e8fcad4fa624e51506d7a3d0dbdf6c6bd0ef216787376653a9cec4bf28255e4b67700b60695069de5810e",
        ),
        (
            "approve:näme ✓",
            "1d9bb161f78d1fa7c5dd4345557fa5cb78711ea7acf2e19dc0bd55ea080fba13a772fc65bb22c4fc51b03eb0e4fb36532bcfee39130da6eee1f2dfb09a88bd01",
        ),
        (
            "",
            "28d0280348d32be67ebc630c596ff83a86c18f6c6cd245e0e15535dbcf199374bc41c3ff268322b6f0dd549c04fbafb54c6301ba47277cdd94440c6dd71e9d04",
        ),
    ];

    fn key() -> (SigningKey, PublicKey) {
        let key = SigningKey::from_bytes(&std::array::from_fn(|n| u8::try_from(n).unwrap()));
        let public = PublicKey(key.verifying_key().to_bytes());
        assert_eq!(public.to_string(), "ed25519_03a107bff3ce10be1d70dd18e74bc09967e4d6309ba50d5f1ddc8664125531b8");
        (key, public)
    }

    #[test]
    fn signs_as_others_do() {
        let (key, public) = key();
        for (text, digits) in VECTORS {
            assert_eq!(sign_text(&key, text), format!("ed25519_sig_{digits}"));
            for prefix in ["ed25519_sig_", "ed25519_", ""] {
                assert_eq!(verify_text(&public, text, &format!("{prefix}{digits}")), Ok(()), "{prefix}");
            }
            assert_eq!(verify_text(&public, text, &digits.to_uppercase()), Ok(()));
        }
    }

    #[test]
    fn another_text_key_or_signature_does_not_count() {
        let (key, public) = key();
        let signature = sign_text(&key, "approve:a");
        assert_eq!(verify_text(&public, "approve:b", &signature), Err(SignatureError::Mismatch));
        let other = SigningKey::from_bytes(&[7; 32]).verifying_key().to_bytes();
        assert_eq!(verify_text(&PublicKey(other), "approve:a", &signature), Err(SignatureError::Mismatch));
        // Every single bit counts.
        let bytes = parse_signature(&signature).unwrap();
        for bit in 0..512 {
            let mut changed = bytes;
            changed[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(
                verify_text(&public, "approve:a", &hex::encode(changed)),
                Err(SignatureError::Mismatch),
                "{bit}"
            );
        }
        // Signing the text itself in place of its hash is another signature.
        let plain = hex::encode(key.sign(b"approve:a").to_bytes());
        assert_eq!(verify_text(&public, "approve:a", &plain), Err(SignatureError::Mismatch));
    }

    #[test]
    fn what_is_no_signature_is_refused_by_name() {
        let (key, public) = key();
        let digits = sign_text(&key, "x").split_off(SIGNATURE_PREFIX.len());
        for (text, why) in [
            (String::new(), SignatureError::Length),
            ("ed25519_sig_".to_owned(), SignatureError::Length),
            (digits[..126].to_owned(), SignatureError::Length),
            (format!("{digits}00"), SignatureError::Length),
            (digits[..127].to_owned(), SignatureError::OddLength),
            (format!("ed25519_sig_ed25519_{digits}"), SignatureError::NotHex),
            (format!("0x{}", &digits[2..]), SignatureError::NotHex),
            (format!(" {}", &digits[1..]), SignatureError::NotHex),
            ("é".repeat(64), SignatureError::NotHex),
        ] {
            assert_eq!(verify_text(&public, "x", &text), Err(why), "{text}");
        }
    }

    #[test]
    fn keys_that_anybody_can_sign_for_are_refused() {
        // The eight points of small order, the first of them in both of its encodings too; R = A and s = 0 fits all of them.
        for key in [
            "0100000000000000000000000000000000000000000000000000000000000000",
            "0100000000000000000000000000000000000000000000000000000000000080",
            "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
            "0000000000000000000000000000000000000000000000000000000000000000",
            "0000000000000000000000000000000000000000000000000000000000000080",
            "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
            "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
            "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
            "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
            "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        ] {
            let public: PublicKey = key.parse().unwrap();
            let signature = format!("{key}{}", "00".repeat(32));
            assert_eq!(verify_text(&public, "anything", &signature), Err(SignatureError::Key), "{key}");
        }
        // No point of the curve at all.
        assert_eq!(verify_text(&PublicKey([2; 32]), "x", &"00".repeat(64)), Err(SignatureError::Key));
    }

    #[test]
    fn a_second_form_of_a_signature_is_refused() {
        let (key, public) = key();
        let mut bytes = parse_signature(&sign_text(&key, "x")).unwrap();
        // s + l is the same number modulo the group's order l.
        let order = hex::decode("edd3f55c1a631258d69cf7a2def9de1400000000000000000000000000000010").unwrap();
        let mut carry = 0;
        for (byte, add) in bytes[32..].iter_mut().zip(order) {
            let sum = u16::from(*byte) + u16::from(add) + carry;
            *byte = u8::try_from(sum & 0xff).unwrap();
            carry = sum >> 8;
        }
        assert_eq!(verify_text(&public, "x", &hex::encode(bytes)), Err(SignatureError::Mismatch));
    }
}
