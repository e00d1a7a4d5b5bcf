//! What each kind of transaction says: the bytes between a transaction's fixed header and its signature.
//!
//! A payload is decoded in place; texts and keys are borrowed from the transaction. The rules checked here need nothing but the bytes
//! (lengths, ranges, letters). What needs the state (balances, roles, names taken) is execution's.

use crate::codec::{DecodeError, Reader, Writer, invalid};
use crate::currency::{CURRENCY_CODE_BYTES, CurrencyCode, CurrencyInfo};
use crate::key::PublicKey;
use crate::username::Username;

/// The longest payload in bytes: a user creation with every text at its longest has 1,155.
pub const PAYLOAD_BYTES_MAX: usize = 1_280;
/// The longest display name in bytes.
pub const DISPLAY_NAME_BYTES_MAX: usize = 100;
/// The longest biography in bytes.
pub const BIOGRAPHY_BYTES_MAX: usize = 1_000;
/// The shortest reason of a balance adjustment in characters.
pub const REASON_CHARACTERS_MIN: usize = 10;
/// The longest reason of a balance adjustment in bytes.
pub const REASON_BYTES_MAX: usize = 512;
/// The longest network address of a validator in bytes.
pub const ADDRESS_BYTES_MAX: usize = 128;
/// Bytes of a transfer's payload: recipient, currency, amount.
pub const TRANSFER_PAYLOAD_BYTES: usize = 32 + CURRENCY_CODE_BYTES + 16;

/// The kind of a transaction, as its second byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Kind {
    /// A key registers itself as an account.
    UserCreation = 1,
    /// Money moves from the sender to another account.
    Transfer = 2,
    /// The sender asks for money that came in outside the chain.
    Deposit = 3,
    /// The sender gives back money that shall go out; it is reserved at once.
    Withdraw = 4,
    /// The sovereign decides a deposit.
    DepositConfirmation = 5,
    /// The sovereign decides a withdrawal.
    WithdrawalConfirmation = 6,
    /// The sovereign creates a currency.
    CurrencyCreation = 7,
    /// The sovereign makes an account staff or user.
    RoleChange = 8,
    /// The sovereign hands its role to another account and becomes a user.
    SovereigntyTransfer = 9,
    /// The sovereign sets a balance, with a reason.
    BalanceAdjustment = 10,
    /// The sovereign adds or removes a validator from an epoch on.
    ValidatorSetChange = 11,
}

impl Kind {
    /// Every kind, by number.
    pub const ALL: [Kind; 11] = [
        Kind::UserCreation,
        Kind::Transfer,
        Kind::Deposit,
        Kind::Withdraw,
        Kind::DepositConfirmation,
        Kind::WithdrawalConfirmation,
        Kind::CurrencyCreation,
        Kind::RoleChange,
        Kind::SovereigntyTransfer,
        Kind::BalanceAdjustment,
        Kind::ValidatorSetChange,
    ];

    /// The kind with this number.
    pub fn from_u8(number: u8) -> Option<Kind> {
        Kind::ALL.get((number as usize).checked_sub(1)?).copied()
    }

    /// The name used in JSON and on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Kind::UserCreation => "user_creation",
            Kind::Transfer => "transfer",
            Kind::Deposit => "deposit",
            Kind::Withdraw => "withdraw",
            Kind::DepositConfirmation => "deposit_confirmation",
            Kind::WithdrawalConfirmation => "withdrawal_confirmation",
            Kind::CurrencyCreation => "currency_creation",
            Kind::RoleChange => "role_change",
            Kind::SovereigntyTransfer => "sovereignty_transfer",
            Kind::BalanceAdjustment => "balance_adjustment",
            Kind::ValidatorSetChange => "validator_set_change",
        }
    }
}

/// What an account may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Role {
    /// An ordinary account.
    User = 0,
    /// Helps the sovereign; the ledger gives it no power of its own.
    Staff = 1,
    /// The one account that confirms, creates currencies, assigns roles and changes the validator set.
    Sovereign = 2,
}

impl Role {
    /// The role with this number.
    pub fn from_u8(number: u8) -> Option<Role> {
        [Role::User, Role::Staff, Role::Sovereign].get(number as usize).copied()
    }

    /// The name used in JSON and on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Role::User => "user",
            Role::Staff => "staff",
            Role::Sovereign => "sovereign",
        }
    }
}

/// A payload, borrowed from its transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Payload<'a> {
    /// See [`Kind::UserCreation`]. `username (1 + n), display name (1 + n), biography (2 + n)`; an empty username means none.
    UserCreation {
        /// A valid username, or empty.
        username: &'a str,
        /// At most 100 bytes.
        display_name: &'a str,
        /// At most 1,000 bytes.
        biography: &'a str,
    },
    /// See [`Kind::Transfer`]. `recipient 32, currency 12, amount 16`.
    Transfer {
        /// Who receives.
        recipient: PublicKey,
        /// In which currency.
        currency: CurrencyCode,
        /// Minor units.
        amount: u128,
    },
    /// See [`Kind::Deposit`]. `currency 12, amount 16`.
    Deposit {
        /// In which currency.
        currency: CurrencyCode,
        /// Minor units.
        amount: u128,
    },
    /// See [`Kind::Withdraw`]. `currency 12, amount 16`.
    Withdraw {
        /// In which currency.
        currency: CurrencyCode,
        /// Minor units.
        amount: u128,
    },
    /// See [`Kind::DepositConfirmation`]. `request 32, decision 1`.
    DepositConfirmation {
        /// The identifier of the deposit transaction.
        request: [u8; 32],
        /// Whether it is confirmed; otherwise it is refused.
        confirm: bool,
    },
    /// See [`Kind::WithdrawalConfirmation`]. `request 32, decision 1`.
    WithdrawalConfirmation {
        /// The identifier of the withdraw transaction.
        request: [u8; 32],
        /// Whether it is confirmed; otherwise the reserved money goes back.
        confirm: bool,
    },
    /// See [`Kind::CurrencyCreation`].
    CurrencyCreation(CurrencyInfo),
    /// See [`Kind::RoleChange`]. `account 32, role 1`.
    RoleChange {
        /// Whose role changes.
        account: PublicKey,
        /// Staff or user.
        role: Role,
    },
    /// See [`Kind::SovereigntyTransfer`]. `account 32`.
    SovereigntyTransfer {
        /// Who becomes sovereign.
        account: PublicKey,
    },
    /// See [`Kind::BalanceAdjustment`]. `account 32, currency 12, amount 16, reason (2 + n)`.
    BalanceAdjustment {
        /// Whose balance is set.
        account: PublicKey,
        /// In which currency.
        currency: CurrencyCode,
        /// The balance afterwards, in minor units.
        amount: u128,
        /// 10 characters to 512 bytes.
        reason: &'a str,
    },
    /// See [`Kind::ValidatorSetChange`]. `action 1, validator 32, epoch 8, address (1 + n)`.
    ValidatorSetChange {
        /// Whether the validator is added; otherwise it is removed.
        add: bool,
        /// The validator's key.
        validator: PublicKey,
        /// The first epoch in which the change is in force.
        epoch: u64,
        /// Where the validator's links listen, `host:port`; empty when it is removed.
        address: &'a str,
    },
}

fn currency(reader: &mut Reader<'_>) -> Result<CurrencyCode, DecodeError> {
    match CurrencyCode::from_bytes(reader.array("currency")?) {
        Some(code) => Ok(code),
        None => invalid("currency", "3 to 10 capital letters, padded with zeros to 12 bytes"),
    }
}

fn flag(reader: &mut Reader<'_>, field: &'static str) -> Result<bool, DecodeError> {
    match reader.u8(field)? {
        0 => Ok(false),
        1 => Ok(true),
        _ => invalid(field, "0 or 1"),
    }
}

fn at_most<'a>(text: &'a str, bytes_max: usize, field: &'static str) -> Result<&'a str, DecodeError> {
    if text.len() <= bytes_max { Ok(text) } else { invalid(field, "longer than this text may be") }
}

impl<'a> Payload<'a> {
    /// Decodes the payload of a transaction of `kind`, with every rule that needs no state.
    pub fn decode(kind: Kind, bytes: &'a [u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        let payload = Self::read(kind, &mut reader)?;
        reader.finish()?;
        Ok(payload)
    }

    fn read(kind: Kind, reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        let key = |reader: &mut Reader<'a>, field| reader.array(field).map(PublicKey);
        Ok(match kind {
            Kind::UserCreation => {
                let username = reader.text_u8("username")?;
                if !username.is_empty() && Username::new(username).is_err() {
                    return invalid("username", "@ and 1 to 49 of a-z, 0-9, _ and -, or empty");
                }
                let display_name = at_most(reader.text_u8("display_name")?, DISPLAY_NAME_BYTES_MAX, "display_name")?;
                let biography = at_most(reader.text_u16("biography")?, BIOGRAPHY_BYTES_MAX, "biography")?;
                Payload::UserCreation { username, display_name, biography }
            }
            Kind::Transfer => Payload::Transfer {
                recipient: key(reader, "recipient")?,
                currency: currency(reader)?,
                amount: reader.u128("amount")?,
            },
            Kind::Deposit => Payload::Deposit { currency: currency(reader)?, amount: reader.u128("amount")? },
            Kind::Withdraw => Payload::Withdraw { currency: currency(reader)?, amount: reader.u128("amount")? },
            Kind::DepositConfirmation => {
                Payload::DepositConfirmation { request: reader.array("request")?, confirm: flag(reader, "decision")? }
            }
            Kind::WithdrawalConfirmation => Payload::WithdrawalConfirmation {
                request: reader.array("request")?,
                confirm: flag(reader, "decision")?,
            },
            Kind::CurrencyCreation => Payload::CurrencyCreation(CurrencyInfo::read(reader)?),
            Kind::RoleChange => {
                let account = key(reader, "account")?;
                match Role::from_u8(reader.u8("role")?) {
                    Some(role @ (Role::User | Role::Staff)) => Payload::RoleChange { account, role },
                    _ => return invalid("role", "0 user or 1 staff"),
                }
            }
            Kind::SovereigntyTransfer => Payload::SovereigntyTransfer { account: key(reader, "account")? },
            Kind::BalanceAdjustment => {
                let account = key(reader, "account")?;
                let currency = currency(reader)?;
                let amount = reader.u128("amount")?;
                let reason = at_most(reader.text_u16("reason")?, REASON_BYTES_MAX, "reason")?;
                if reason.chars().count() < REASON_CHARACTERS_MIN {
                    return invalid("reason", "at least 10 characters");
                }
                Payload::BalanceAdjustment { account, currency, amount, reason }
            }
            Kind::ValidatorSetChange => {
                let add = flag(reader, "action")?;
                let validator = key(reader, "validator")?;
                let epoch = reader.u64("epoch")?;
                let address = at_most(reader.text_u8("address")?, ADDRESS_BYTES_MAX, "address")?;
                if add == address.is_empty() {
                    return invalid("address", "host:port when a validator is added, empty when it is removed");
                }
                // Agreement cannot take a set with such a key, so it must never enter one.
                if add && !validator.can_sign() {
                    return invalid("validator", "an Ed25519 public key: a point of the curve, encoded canonically");
                }
                Payload::ValidatorSetChange { add, validator, epoch, address }
            }
        })
    }

    /// The kind that this payload belongs to.
    pub fn kind(&self) -> Kind {
        match self {
            Payload::UserCreation { .. } => Kind::UserCreation,
            Payload::Transfer { .. } => Kind::Transfer,
            Payload::Deposit { .. } => Kind::Deposit,
            Payload::Withdraw { .. } => Kind::Withdraw,
            Payload::DepositConfirmation { .. } => Kind::DepositConfirmation,
            Payload::WithdrawalConfirmation { .. } => Kind::WithdrawalConfirmation,
            Payload::CurrencyCreation(_) => Kind::CurrencyCreation,
            Payload::RoleChange { .. } => Kind::RoleChange,
            Payload::SovereigntyTransfer { .. } => Kind::SovereigntyTransfer,
            Payload::BalanceAdjustment { .. } => Kind::BalanceAdjustment,
            Payload::ValidatorSetChange { .. } => Kind::ValidatorSetChange,
        }
    }

    /// The payload's bytes. Refuses what [`Payload::decode`] would refuse, so that nothing invalid is ever signed.
    pub fn encode(&self) -> Result<Vec<u8>, DecodeError> {
        let mut writer = Writer::with_capacity(TRANSFER_PAYLOAD_BYTES);
        match self {
            Payload::UserCreation { username, display_name, biography } => {
                at_most(username, u8::MAX as usize, "username")?;
                at_most(display_name, DISPLAY_NAME_BYTES_MAX, "display_name")?;
                at_most(biography, BIOGRAPHY_BYTES_MAX, "biography")?;
                writer.text_u8(username).text_u8(display_name).text_u16(biography);
            }
            Payload::Transfer { recipient, currency, amount } => {
                writer.bytes(&recipient.0).bytes(currency.as_bytes()).u128(*amount);
            }
            Payload::Deposit { currency, amount } | Payload::Withdraw { currency, amount } => {
                writer.bytes(currency.as_bytes()).u128(*amount);
            }
            Payload::DepositConfirmation { request, confirm }
            | Payload::WithdrawalConfirmation { request, confirm } => {
                writer.bytes(request).u8(u8::from(*confirm));
            }
            Payload::CurrencyCreation(info) => {
                info.check()?;
                info.write(&mut writer);
            }
            Payload::RoleChange { account, role } => {
                writer.bytes(&account.0).u8(*role as u8);
            }
            Payload::SovereigntyTransfer { account } => {
                writer.bytes(&account.0);
            }
            Payload::BalanceAdjustment { account, currency, amount, reason } => {
                at_most(reason, REASON_BYTES_MAX, "reason")?;
                writer.bytes(&account.0).bytes(currency.as_bytes()).u128(*amount).text_u16(reason);
            }
            Payload::ValidatorSetChange { add, validator, epoch, address } => {
                at_most(address, ADDRESS_BYTES_MAX, "address")?;
                writer.u8(u8::from(*add)).bytes(&validator.0).u64(*epoch).text_u8(address);
            }
        }
        let bytes = writer.finish();
        Payload::decode(self.kind(), &bytes)?;
        Ok(bytes)
    }
}
