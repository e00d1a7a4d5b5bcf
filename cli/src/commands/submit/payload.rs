//! From arguments to a payload: names become keys, decimal texts become minor units.

use tana_types::currency::{CurrencyCode, CurrencyInfo};
use tana_types::key::PublicKey;
use tana_types::payload::{Payload, Role};
use tana_types::username::Username;

use super::arguments::{Decision, SubmitKind};
use super::context::Context;
use crate::error::CliError;

/// A payload that owns its texts.
pub enum Parts {
    UserCreation { username: String, display_name: String, biography: String },
    Transfer { recipient: PublicKey, currency: CurrencyCode, amount: u128 },
    Deposit { currency: CurrencyCode, amount: u128 },
    Withdraw { currency: CurrencyCode, amount: u128 },
    DepositConfirmation { request: [u8; 32], confirm: bool },
    WithdrawalConfirmation { request: [u8; 32], confirm: bool },
    CurrencyCreation(CurrencyInfo),
    RoleChange { account: PublicKey, role: Role },
    SovereigntyTransfer { account: PublicKey },
    BalanceAdjustment { account: PublicKey, currency: CurrencyCode, amount: u128, reason: String },
    ValidatorSetChange { add: bool, validator: PublicKey, epoch: u64, address: String },
}

impl Parts {
    /// The payload, borrowed from here.
    pub fn payload(&self) -> Payload<'_> {
        match self {
            Parts::UserCreation { username, display_name, biography } => {
                Payload::UserCreation { username, display_name, biography }
            }
            &Parts::Transfer { recipient, currency, amount } => Payload::Transfer { recipient, currency, amount },
            &Parts::Deposit { currency, amount } => Payload::Deposit { currency, amount },
            &Parts::Withdraw { currency, amount } => Payload::Withdraw { currency, amount },
            &Parts::DepositConfirmation { request, confirm } => Payload::DepositConfirmation { request, confirm },
            &Parts::WithdrawalConfirmation { request, confirm } => Payload::WithdrawalConfirmation { request, confirm },
            Parts::CurrencyCreation(info) => Payload::CurrencyCreation(info.clone()),
            &Parts::RoleChange { account, role } => Payload::RoleChange { account, role },
            &Parts::SovereigntyTransfer { account } => Payload::SovereigntyTransfer { account },
            Parts::BalanceAdjustment { account, currency, amount, reason } => {
                Payload::BalanceAdjustment { account: *account, currency: *currency, amount: *amount, reason }
            }
            Parts::ValidatorSetChange { add, validator, epoch, address } => {
                Payload::ValidatorSetChange { add: *add, validator: *validator, epoch: *epoch, address }
            }
        }
    }
}

/// Builds the payload; asks the node for names and decimals that are not known here.
pub async fn resolve(kind: &SubmitKind, context: &mut Context<'_>) -> Result<Parts, CliError> {
    Ok(match kind {
        SubmitKind::UserCreation { username, display_name, biography } => {
            let owner = context.owner();
            let username = username.clone().unwrap_or_else(|| owner.username.clone());
            let display_name = display_name.clone().unwrap_or_else(|| owner.display_name.clone());
            let username = if username.is_empty() { username } else { username.parse::<Username>()?.to_string() };
            Parts::UserCreation { username, display_name, biography: biography.clone() }
        }
        SubmitKind::Transfer { to, money } => {
            let (currency, amount) = context.some_money(money).await?;
            Parts::Transfer { recipient: context.account_key(to).await?, currency, amount }
        }
        SubmitKind::Deposit { money } => {
            let (currency, amount) = context.some_money(money).await?;
            Parts::Deposit { currency, amount }
        }
        SubmitKind::Withdraw { money } => {
            let (currency, amount) = context.some_money(money).await?;
            Parts::Withdraw { currency, amount }
        }
        SubmitKind::ConfirmDeposit { decision } => {
            Parts::DepositConfirmation { request: request(decision)?, confirm: !decision.refuse }
        }
        SubmitKind::ConfirmWithdrawal { decision } => {
            Parts::WithdrawalConfirmation { request: request(decision)?, confirm: !decision.refuse }
        }
        SubmitKind::CurrencyCreation { code, decimals, currency_type, name, symbol, verified } => {
            Parts::CurrencyCreation(CurrencyInfo {
                code: code.parse()?,
                decimals: *decimals,
                currency_type: (*currency_type).into(),
                verified: *verified,
                name: name.clone(),
                symbol: symbol.clone(),
            })
        }
        SubmitKind::RoleChange { account, role } => {
            Parts::RoleChange { account: context.account_key(account).await?, role: (*role).into() }
        }
        SubmitKind::SovereigntyTransfer { to } => {
            Parts::SovereigntyTransfer { account: context.account_key(to).await? }
        }
        SubmitKind::BalanceAdjustment { account, money, reason } => {
            let (currency, amount) = context.money(money).await?;
            let account = context.account_key(account).await?;
            Parts::BalanceAdjustment { account, currency, amount, reason: reason.clone() }
        }
        SubmitKind::ValidatorSetChange { add, remove, address, epoch } => {
            let address = address.clone().unwrap_or_default();
            let (added, key) = match (add, remove) {
                (Some(key), _) => (true, key),
                (None, Some(key)) => (false, key),
                (None, None) => return Err(CliError::Usage("give --add KEY or --remove KEY".to_owned())),
            };
            Parts::ValidatorSetChange { add: added, validator: key.parse()?, epoch: *epoch, address }
        }
    })
}

/// The 32 bytes of an identifier.
pub fn parse_id(text: &str) -> Result<[u8; 32], CliError> {
    let mut id = [0; 32];
    hex::decode_to_slice(text, &mut id).map_err(|_| {
        let shown: String = text.chars().take(70).collect();
        CliError::Usage(format!("`{shown}` is not the identifier of a transaction: it must be 64 hexadecimal digits"))
    })?;
    Ok(id)
}

fn request(decision: &Decision) -> Result<[u8; 32], CliError> {
    parse_id(&decision.request)
}
