//! What a submission's body holds: transactions as bytes, whatever form they came in.
//!
//! - `application/octet-stream`: signed transactions back to back, as in docs/protocol.md.
//! - JSON `{"transaction": "<hex>"}` or `{"transactions": ["<hex>", ...]}`.
//! - JSON of the fields of one transaction and its signature ([`Decoded`]), which is encoded here. The signature is over the encoded bytes.

use std::ops::Range;

use axum::body::Bytes;
use axum::extract::{FromRequest, Request};
use axum::http::{StatusCode, header};
use serde::Deserialize;
use serde_json::{Map, Value};
use tana_http::error::{ApiError, parse_json};
use tana_types::transaction::{TRANSACTION_BYTES_MAX, Transaction};

use super::decoded::{Decoded, encode};
use crate::api::limits::SUBMIT_TRANSACTIONS_MAX;
use crate::chain::Chain;

/// A body as it came.
pub struct Raw {
    is_json: bool,
    bytes: Bytes,
}

impl<S: Send + Sync> FromRequest<S> for Raw {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Self, ApiError> {
        let value =
            request.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let essence = value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        let is_json = match essence.as_str() {
            "application/octet-stream" => false,
            "application/json" => true,
            other if other.starts_with("application/") && other.ends_with("+json") => true,
            _ => {
                return Err(ApiError::new(
                    StatusCode::UNSUPPORTED_MEDIA_TYPE,
                    "unsupported_media_type",
                    "send `content-type: application/octet-stream` with signed transactions, or `application/json`",
                ));
            }
        };
        match Bytes::from_request(request, state).await {
            Ok(bytes) => Ok(Self { is_json, bytes }),
            Err(rejection) if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE => {
                Err(ApiError::too_large("the body is larger than this route takes"))
            }
            Err(_) => Err(ApiError::bad_request("the body broke off before its end").with_code("broken_body")),
        }
    }
}

/// Transactions in one buffer.
#[derive(Debug, Clone)]
pub struct Parsed {
    /// All of them, back to back.
    pub bytes: Bytes,
    /// Where each lies.
    pub ranges: Vec<Range<usize>>,
    /// Whether the caller expects a list.
    pub is_list: bool,
}

impl Parsed {
    /// The transaction at `place`, which is below the number of ranges.
    pub fn transaction(&self, place: usize) -> Option<Transaction<'_>> {
        Transaction::exactly(&self.bytes[self.ranges.get(place)?.clone()])
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct One {
    transaction: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Many {
    transactions: Vec<String>,
}

fn malformed(message: impl Into<String>) -> ApiError {
    ApiError::bad_request(message).with_code("malformed")
}

/// Reads a body. `to_fields` may rename the fields of a decoded form before it is read.
///
/// # Errors
/// 400: no JSON, a field that is missing, unknown or wrong, bytes that are no transaction, none or too many of them.
pub fn parse(
    raw: &Raw,
    chain: &Chain,
    to_fields: impl FnOnce(Map<String, Value>) -> Result<Map<String, Value>, ApiError>,
) -> Result<Parsed, ApiError> {
    if !raw.is_json {
        let parsed = split(raw.bytes.clone())?;
        return Ok(Parsed { is_list: parsed.ranges.len() != 1, ..parsed });
    }
    let fields: Map<String, Value> = parse_json(&raw.bytes)?;
    if fields.contains_key("transactions") {
        let Many { transactions } = read(fields)?;
        if transactions.is_empty() || transactions.len() > SUBMIT_TRANSACTIONS_MAX {
            return Err(count_error(transactions.len()));
        }
        let mut bytes = Vec::new();
        let mut ranges = Vec::with_capacity(transactions.len());
        for (place, digits) in transactions.iter().enumerate() {
            let begin = bytes.len();
            bytes.extend(from_hex(digits).map_err(|why| malformed(format!("transaction {place}: {why}")))?);
            ranges.push(begin..bytes.len());
        }
        return Ok(Parsed { bytes: bytes.into(), ranges, is_list: true });
    }
    let bytes = if fields.contains_key("transaction") {
        let One { transaction } = read(fields)?;
        from_hex(&transaction).map_err(malformed)?
    } else {
        let fields = to_fields(fields)?;
        let given: Vec<String> = fields.keys().cloned().collect();
        let decoded: Decoded = read(fields)?;
        encode(&decoded, &given, chain)?
    };
    let whole = 0..bytes.len();
    Ok(Parsed { ranges: Vec::from([whole]), bytes: bytes.into(), is_list: false })
}

/// The fields as a `T`, with a refusal that names the field.
fn read<T: serde::de::DeserializeOwned>(fields: Map<String, Value>) -> Result<T, ApiError> {
    serde_json::from_value(Value::Object(fields))
        .map_err(|error| ApiError::bad_request(format!("the body does not fit: {error}")).with_code("bad_field"))
}

fn count_error(count: usize) -> ApiError {
    malformed(format!("the body holds {count} transactions, but must hold 1 to {SUBMIT_TRANSACTIONS_MAX}"))
}

/// The bytes of one transaction in hexadecimal.
fn from_hex(digits: &str) -> Result<Vec<u8>, &'static str> {
    if digits.len() > 2 * TRANSACTION_BYTES_MAX {
        return Err("it is larger than a transaction may be");
    }
    let bytes = hex::decode(digits).map_err(|_| "it is not hexadecimal")?;
    if Transaction::exactly(&bytes).is_none() {
        return Err("the bytes are not one transaction; docs/protocol.md, section 7, says how they lie");
    }
    Ok(bytes)
}

/// Transactions back to back.
fn split(bytes: Bytes) -> Result<Parsed, ApiError> {
    let mut ranges = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        let Some(transaction) = Transaction::first_of(&bytes[at..]) else {
            return Err(malformed(format!(
                "the bytes from {at} on are no transaction; docs/protocol.md, section 7, says how they lie"
            )));
        };
        let end = at + transaction.bytes().len();
        ranges.push(at..end);
        at = end;
        if ranges.len() > SUBMIT_TRANSACTIONS_MAX {
            return Err(count_error(ranges.len()));
        }
    }
    if ranges.is_empty() {
        return Err(count_error(0));
    }
    Ok(Parsed { bytes, ranges, is_list: false })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use ed25519_dalek::SigningKey;
    use tana_types::key::PublicKey;
    use tana_types::payload::Payload;
    use tana_types::transaction::{Chain as SigningChain, sign};

    fn transfer(nonce: u64) -> Vec<u8> {
        let payload = Payload::Transfer { recipient: PublicKey([2; 32]), currency: "USD".parse().unwrap(), amount: 5 };
        sign(&SigningChain::new([7; 32]), &SigningKey::from_bytes(&[1; 32]), nonce, 1, &payload).unwrap()
    }

    #[test]
    fn bytes_split_into_transactions_and_anything_else_is_refused() {
        let two = [transfer(1), transfer(2)].concat();
        let parsed = split(two.clone().into()).unwrap();
        assert_eq!(parsed.ranges, [0..180, 180..360]);
        assert_eq!(parsed.transaction(1).unwrap().header().nonce.get(), 2);
        assert!(parsed.transaction(2).is_none());
        for bad in [Vec::new(), two[..359].to_vec(), [two, vec![9]].concat(), vec![0; 500]] {
            assert_eq!(split(bad.into()).unwrap_err().code, "malformed");
        }
        let many: Vec<u8> = (0..=SUBMIT_TRANSACTIONS_MAX as u64).flat_map(transfer).collect();
        assert_eq!(split(many.into()).unwrap_err().code, "malformed");
    }

    #[test]
    fn hexadecimal_holds_exactly_one() {
        let one = transfer(1);
        assert_eq!(from_hex(&hex::encode(&one)).unwrap(), one);
        for bad in
            ["", "xyz", &hex::encode(&one[1..]), &hex::encode([one.clone(), one.clone()].concat()), &"00".repeat(1_401)]
        {
            assert!(from_hex(bad).is_err(), "{bad}");
        }
    }
}
