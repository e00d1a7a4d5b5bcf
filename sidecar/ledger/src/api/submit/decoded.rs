//! A transaction as JSON fields, and how it becomes the bytes that were signed.

use serde::{Deserialize, Serialize};
use tana_http::error::ApiError;
use tana_http::signature::parse_signature;
use tana_types::amount::parse_amount;
use tana_types::currency::{CurrencyCode, CurrencyInfo, CurrencyType};
use tana_types::key::PublicKey;
use tana_types::payload::{Kind, Payload, Role};
use tana_types::transaction::TRANSACTION_VERSION;
use utoipa::ToSchema;

use crate::chain::Chain;

/// The fields of one signed transaction. Beside the first five, each type has its own: see docs/ledger.md. The signature is over the binary
/// form of these fields (docs/protocol.md, section 7).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Decoded {
    /// user_creation, transfer, deposit, withdraw, deposit_confirmation, withdrawal_confirmation, currency_creation, role_change,
    /// sovereignty_transfer, balance_adjustment or validator_set_change.
    #[serde(rename = "type")]
    #[schema(max_length = 32)]
    pub kind: String,
    /// The sender's key.
    #[schema(max_length = 72)]
    pub from: String,
    /// The account's last nonce plus one; 0 for a user creation.
    pub nonce: u64,
    /// The sender's time in milliseconds.
    pub timestamp: u64,
    /// `ed25519_sig_` and 128 hexadecimal digits.
    #[schema(max_length = 140)]
    pub signature: String,
    /// transfer: who receives. role_change, sovereignty_transfer, balance_adjustment: whom it is about. validator_set_change: the validator.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 72)]
    pub to: Option<String>,
    /// A decimal string, such as 12.50.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 60, pattern = "^[0-9]+(\\.[0-9]+)?$")]
    pub amount: Option<String>,
    /// 3 to 10 capital letters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 10, pattern = "^[A-Z]{3,10}$")]
    pub currency_code: Option<String>,
    /// user_creation: `@` and 1 to 49 of a-z, 0-9, _ and -; empty for none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 50)]
    pub username: Option<String>,
    /// user_creation: at most 100 bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 100)]
    pub display_name: Option<String>,
    /// user_creation: at most 1,000 bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 1000)]
    pub bio: Option<String>,
    /// deposit_confirmation, withdrawal_confirmation: the identifier of the transaction that asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 64, pattern = "^[0-9a-f]{64}$")]
    pub request: Option<String>,
    /// deposit_confirmation, withdrawal_confirmation: whether it is confirmed; refused otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confirm: Option<bool>,
    /// role_change: user or staff.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 9, pattern = "^(user|staff)$")]
    pub role: Option<String>,
    /// balance_adjustment: 10 characters to 512 bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 512)]
    pub reason: Option<String>,
    /// currency_creation: digits behind the decimal point.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 0, maximum = 18)]
    pub decimals: Option<u8>,
    /// currency_creation: fiat or crypto.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 6, pattern = "^(fiat|crypto)$")]
    pub currency_type: Option<String>,
    /// currency_creation: whether the sovereign vouches for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verified: Option<bool>,
    /// currency_creation: at most 64 bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 64)]
    pub name: Option<String>,
    /// currency_creation: at most 16 bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 16)]
    pub symbol: Option<String>,
    /// validator_set_change: whether the validator is added; removed otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub add: Option<bool>,
    /// validator_set_change: the first epoch in which it is in force.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub epoch: Option<u64>,
    /// validator_set_change: `host:port` of its links when it is added.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 128)]
    pub address: Option<String>,
}

const COMMON: [&str; 5] = ["type", "from", "nonce", "timestamp", "signature"];

/// The fields that a kind has beside the common ones.
fn fields_of(kind: Kind) -> &'static [&'static str] {
    match kind {
        Kind::UserCreation => &["username", "displayName", "bio"],
        Kind::Transfer => &["to", "amount", "currencyCode"],
        Kind::Deposit | Kind::Withdraw => &["amount", "currencyCode"],
        Kind::DepositConfirmation | Kind::WithdrawalConfirmation => &["request", "confirm"],
        Kind::CurrencyCreation => &["currencyCode", "decimals", "currencyType", "verified", "name", "symbol"],
        Kind::RoleChange => &["to", "role"],
        Kind::SovereigntyTransfer => &["to"],
        Kind::BalanceAdjustment => &["to", "amount", "currencyCode", "reason"],
        Kind::ValidatorSetChange => &["to", "add", "epoch", "address"],
    }
}

fn bad(field: &str, why: impl std::fmt::Display) -> ApiError {
    ApiError::bad_request(format!("`{field}`: {why}")).with_code("bad_field")
}

fn need<'a, T>(field: &str, value: &'a Option<T>) -> Result<&'a T, ApiError> {
    value.as_ref().ok_or_else(|| bad(field, "this type of transaction needs it"))
}

fn key(field: &str, text: &str) -> Result<PublicKey, ApiError> {
    text.parse().map_err(|error| bad(field, error))
}

impl Decoded {
    fn to(&self) -> Result<PublicKey, ApiError> {
        key("to", need("to", &self.to)?)
    }

    fn currency(&self) -> Result<CurrencyCode, ApiError> {
        need("currencyCode", &self.currency_code)?.parse().map_err(|error| bad("currencyCode", error))
    }

    fn money(&self, decimals: impl Fn(&str) -> Result<u8, ApiError>) -> Result<(CurrencyCode, u128), ApiError> {
        let currency = self.currency()?;
        let text = need("amount", &self.amount)?;
        let amount = parse_amount(text, decimals(&currency.to_string())?).map_err(|error| bad("amount", error))?;
        Ok((currency, amount))
    }

    fn request(&self) -> Result<[u8; 32], ApiError> {
        let mut id = [0; 32];
        hex::decode_to_slice(need("request", &self.request)?, &mut id)
            .map_err(|_| bad("request", "it must be the identifier of a transaction, 64 hexadecimal digits"))?;
        Ok(id)
    }

    fn payload(&self, kind: Kind, decimals: impl Fn(&str) -> Result<u8, ApiError>) -> Result<Payload<'_>, ApiError> {
        let text =
            |value: &'static str, field: &'_ Option<String>| field.as_deref().map_or(value.to_owned(), str::to_owned);
        Ok(match kind {
            Kind::UserCreation => Payload::UserCreation {
                username: self.username.as_deref().unwrap_or_default(),
                display_name: self.display_name.as_deref().unwrap_or_default(),
                biography: self.bio.as_deref().unwrap_or_default(),
            },
            Kind::Transfer => {
                let (currency, amount) = self.money(decimals)?;
                Payload::Transfer { recipient: self.to()?, currency, amount }
            }
            Kind::Deposit => {
                let (currency, amount) = self.money(decimals)?;
                Payload::Deposit { currency, amount }
            }
            Kind::Withdraw => {
                let (currency, amount) = self.money(decimals)?;
                Payload::Withdraw { currency, amount }
            }
            Kind::DepositConfirmation => {
                Payload::DepositConfirmation { request: self.request()?, confirm: *need("confirm", &self.confirm)? }
            }
            Kind::WithdrawalConfirmation => {
                Payload::WithdrawalConfirmation { request: self.request()?, confirm: *need("confirm", &self.confirm)? }
            }
            Kind::CurrencyCreation => Payload::CurrencyCreation(CurrencyInfo {
                code: self.currency()?,
                decimals: *need("decimals", &self.decimals)?,
                currency_type: match need("currencyType", &self.currency_type)?.as_str() {
                    "fiat" => CurrencyType::Fiat,
                    "crypto" => CurrencyType::Crypto,
                    _ => return Err(bad("currencyType", "it must be fiat or crypto")),
                },
                verified: self.verified.unwrap_or_default(),
                name: text("", &self.name),
                symbol: text("", &self.symbol),
            }),
            Kind::RoleChange => Payload::RoleChange {
                account: self.to()?,
                role: match need("role", &self.role)?.as_str() {
                    "user" => Role::User,
                    "staff" => Role::Staff,
                    _ => {
                        return Err(bad(
                            "role",
                            "it must be user or staff; the sovereign's goes by a sovereignty_transfer",
                        ));
                    }
                },
            },
            Kind::SovereigntyTransfer => Payload::SovereigntyTransfer { account: self.to()? },
            Kind::BalanceAdjustment => {
                let (currency, amount) = self.money(decimals)?;
                Payload::BalanceAdjustment {
                    account: self.to()?,
                    currency,
                    amount,
                    reason: need("reason", &self.reason)?,
                }
            }
            Kind::ValidatorSetChange => Payload::ValidatorSetChange {
                add: *need("add", &self.add)?,
                validator: self.to()?,
                epoch: *need("epoch", &self.epoch)?,
                address: self.address.as_deref().unwrap_or_default(),
            },
        })
    }
}

/// The bytes of the transaction; `given` are the names of the fields that were there.
///
/// # Errors
/// 400 `bad_field`, which names the field.
pub fn encode(decoded: &Decoded, given: &[String], chain: &Chain) -> Result<Vec<u8>, ApiError> {
    let decimals = |code: &str| match chain.currencies() {
        Ok(currencies) => match currencies.iter().find(|currency| currency.code == code) {
            Some(currency) => Ok(currency.decimals),
            None => {
                Err(bad("currencyCode", format!("there is no currency {code}; GET /balances/currencies lists them")))
            }
        },
        Err(error) => Err(ApiError::unavailable(error.to_string()).with_code(error.code())),
    };
    encode_with(decoded, given, chain.genesis().to_chain().tag(), decimals)
}

fn encode_with(
    decoded: &Decoded,
    given: &[String],
    chain_tag: u32,
    decimals: impl Fn(&str) -> Result<u8, ApiError>,
) -> Result<Vec<u8>, ApiError> {
    let Some(kind) = Kind::ALL.into_iter().find(|kind| kind.name() == decoded.kind) else {
        let names: Vec<&str> = Kind::ALL.iter().map(|kind| kind.name()).collect();
        return Err(bad("type", format!("it must be one of {}", names.join(", "))));
    };
    let fits = |name: &&String| COMMON.contains(&name.as_str()) || fields_of(kind).contains(&name.as_str());
    if let Some(other) = given.iter().find(|name| !fits(name)) {
        return Err(bad(other, format!("a {} has no such field, so nobody has signed it", kind.name())));
    }
    let sender = key("from", &decoded.from)?;
    let signature = parse_signature(&decoded.signature).map_err(|error| bad("signature", error))?;
    let payload = decoded.payload(kind, decimals)?.encode().map_err(|error| {
        ApiError::bad_request(format!("a {} cannot be so: {error}", kind.name())).with_code("bad_field")
    })?;
    let mut bytes = Vec::with_capacity(120 + payload.len());
    bytes.extend([TRANSACTION_VERSION, kind as u8]);
    bytes.extend(u16::try_from(payload.len()).map_err(|_| bad("type", "the payload is too long"))?.to_le_bytes());
    bytes.extend(chain_tag.to_le_bytes());
    bytes.extend(decoded.nonce.to_le_bytes());
    bytes.extend(decoded.timestamp.to_le_bytes());
    bytes.extend(sender.0);
    bytes.extend(payload);
    bytes.extend(signature);
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use ed25519_dalek::SigningKey;
    use tana_types::key::print_signature;
    use tana_types::transaction::{Chain as SigningChain, Transaction, sign};

    const ID: [u8; 32] = [8; 32];

    fn check(payload: &Payload<'_>, mut decoded: Decoded, fields: &[&str]) {
        let chain = SigningChain::new([7; 32]);
        let signer = SigningKey::from_bytes(&[1; 32]);
        let signed = sign(&chain, &signer, 3, 1_700_000_000_000, payload).unwrap();
        decoded.kind = payload.kind().name().to_owned();
        decoded.from = PublicKey(signer.verifying_key().to_bytes()).to_string();
        (decoded.nonce, decoded.timestamp) = (3, 1_700_000_000_000);
        decoded.signature = print_signature(Transaction::exactly(&signed).unwrap().signature());
        let given: Vec<String> = COMMON.iter().chain(fields).map(|name| (*name).to_owned()).collect();
        let encoded = encode_with(&decoded, &given, chain.tag(), |_| Ok(2)).unwrap();
        assert_eq!(encoded, signed, "{:?}", payload.kind());
        // A field of another kind is refused, and so is one that is missing.
        let more = [given.clone(), vec!["nonsense".to_owned()]].concat();
        assert_eq!(encode_with(&decoded, &more, chain.tag(), |_| Ok(2)).unwrap_err().code, "bad_field");
        if payload.kind() != Kind::UserCreation {
            let bare =
                Decoded { kind: decoded.kind, from: decoded.from, signature: decoded.signature, ..Decoded::default() };
            assert_eq!(encode_with(&bare, &given, chain.tag(), |_| Ok(2)).unwrap_err().code, "bad_field");
        }
    }

    #[test]
    fn every_kind_becomes_the_bytes_that_were_signed() {
        let (to, currency) = (PublicKey([2; 32]), "USD".parse::<CurrencyCode>().unwrap());
        let some = |text: &str| Some(text.to_owned());
        let money = || Decoded { amount: some("12.50"), currency_code: some("USD"), ..Decoded::default() };
        let whom = || Decoded { to: Some(to.to_string()), ..Decoded::default() };
        let decision = || Decoded { request: Some(hex::encode(ID)), confirm: Some(true), ..Decoded::default() };
        let creation = Payload::UserCreation { username: "@alice", display_name: "Alice", biography: "é" };
        let named =
            Decoded { username: some("@alice"), display_name: some("Alice"), bio: some("é"), ..Decoded::default() };
        check(&creation, named, &["username", "displayName", "bio"]);
        let transfer = Payload::Transfer { recipient: to, currency, amount: 1_250 };
        check(&transfer, Decoded { to: Some(to.to_string()), ..money() }, &["to", "amount", "currencyCode"]);
        check(&Payload::Deposit { currency, amount: 1_250 }, money(), &["amount", "currencyCode"]);
        check(&Payload::Withdraw { currency, amount: 1_250 }, money(), &["amount", "currencyCode"]);
        check(&Payload::DepositConfirmation { request: ID, confirm: true }, decision(), &["request", "confirm"]);
        check(&Payload::WithdrawalConfirmation { request: ID, confirm: true }, decision(), &["request", "confirm"]);
        let info = CurrencyInfo {
            code: currency,
            decimals: 2,
            currency_type: CurrencyType::Crypto,
            verified: true,
            name: "N".to_owned(),
            symbol: "S".to_owned(),
        };
        let currency_fields = Decoded {
            currency_code: some("USD"),
            decimals: Some(2),
            currency_type: some("crypto"),
            verified: Some(true),
            name: some("N"),
            symbol: some("S"),
            ..Decoded::default()
        };
        check(&Payload::CurrencyCreation(info), currency_fields, fields_of(Kind::CurrencyCreation));
        check(
            &Payload::RoleChange { account: to, role: Role::Staff },
            Decoded { role: some("staff"), ..whom() },
            &["to", "role"],
        );
        check(&Payload::SovereigntyTransfer { account: to }, whom(), &["to"]);
        let adjustment = Payload::BalanceAdjustment { account: to, currency, amount: 1_250, reason: "Booked twice." };
        let fields = Decoded { to: Some(to.to_string()), reason: some("Booked twice."), ..money() };
        check(&adjustment, fields, fields_of(Kind::BalanceAdjustment));
        let validator = PublicKey(SigningKey::from_bytes(&[9; 32]).verifying_key().to_bytes());
        let change = Payload::ValidatorSetChange { add: true, validator, epoch: 7, address: "h:1" };
        let fields = Decoded {
            to: Some(validator.to_string()),
            add: Some(true),
            epoch: Some(7),
            address: some("h:1"),
            ..Decoded::default()
        };
        check(&change, fields, fields_of(Kind::ValidatorSetChange));
    }
}
