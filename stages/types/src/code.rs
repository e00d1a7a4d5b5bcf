//! How a transaction ends: one byte that says what happened, with a fixed name and a sentence for people.
//!
//! Codes below 64 come from execution, are in the receipts and so under the receipts root: their numbers never change. Codes from 64
//! come from ingest and bind this node only.

macro_rules! codes {
    ($($(#[doc = $doc:literal])+ $variant:ident = $number:literal, $name:literal;)+) => {
        /// The end of a transaction.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u8)]
        pub enum Code { $($(#[doc = $doc])+ $variant = $number,)+ }

        impl Code {
            /// Every code, by number.
            pub const ALL: &'static [Code] = &[$(Code::$variant,)+];

            /// The code with this number.
            pub fn from_u8(number: u8) -> Option<Code> {
                match number { $($number => Some(Code::$variant),)+ _ => None }
            }

            /// The fixed name, used in JSON, metrics and on the command line.
            pub fn name(self) -> &'static str {
                match self { $(Code::$variant => $name,)+ }
            }

            /// One sentence for people.
            pub fn explanation(self) -> &'static str {
                match self { $(Code::$variant => concat!($($doc),+).trim_start(),)+ }
            }
        }
    };
}

codes! {
    /// The transaction took effect.
    Applied = 0, "applied";
    /// Its nonce was used before: it is a copy of a transaction that already has its place, or stale.
    Duplicate = 1, "duplicate";
    /// Its nonce is not the next one of the account; the same bytes may succeed later.
    NonceGap = 2, "nonce_gap";
    /// The sender has no account; the same bytes may succeed later.
    UnknownSender = 3, "unknown_sender";
    /// Its timestamp is too far from the block's.
    TimestampOutOfWindow = 10, "timestamp_out_of_window";
    /// The receiving account does not exist.
    UnknownRecipient = 11, "unknown_recipient";
    /// The balance does not cover the amount.
    InsufficientFunds = 12, "insufficient_funds";
    /// No currency has this code.
    UnknownCurrency = 13, "unknown_currency";
    /// The amount is zero.
    ZeroAmount = 14, "zero_amount";
    /// The result would not fit an amount.
    AmountOverflow = 15, "amount_overflow";
    /// The account already holds the most currencies that an account may hold.
    TooManyCurrencies = 16, "too_many_currencies";
    /// Only the sovereign may do this.
    NotSovereign = 17, "not_sovereign";
    /// Another account has this username.
    UsernameTaken = 18, "username_taken";
    /// The key already has an account.
    AccountExists = 19, "account_exists";
    /// This block has created as many accounts as a block may; the same bytes may succeed later.
    AccountsPerBlock = 20, "accounts_per_block";
    /// The chain holds as many accounts as it may.
    AccountsTotal = 21, "accounts_total";
    /// No pending request has this identifier.
    UnknownRequest = 22, "unknown_request";
    /// A currency with this code exists.
    CurrencyExists = 23, "currency_exists";
    /// The chain holds as many currencies as it may.
    CurrenciesTotal = 24, "currencies_total";
    /// The account already has this role.
    RoleUnchanged = 25, "role_unchanged";
    /// The sovereign's role changes only by a sovereignty transfer.
    SovereignRole = 26, "sovereign_role";
    /// The named account does not exist.
    UnknownAccount = 27, "unknown_account";
    /// The key is no validator.
    UnknownValidator = 28, "unknown_validator";
    /// The key is a validator already.
    ValidatorExists = 29, "validator_exists";
    /// The set holds as many validators as it may.
    ValidatorsTotal = 30, "validators_total";
    /// The last validator cannot be removed.
    LastValidator = 31, "last_validator";
    /// The epoch is too near: a change holds two epochs after its own at the earliest.
    EpochPast = 32, "epoch_past";
    /// Too many requests wait for the sovereign.
    PendingTotal = 33, "pending_total";
    /// As many requests of this account wait for the sovereign as an account may have.
    PendingPerAccount = 34, "pending_per_account";

    /// The bytes are not a transaction.
    Malformed = 64, "malformed";
    /// The transaction was made for another chain.
    WrongChain = 65, "wrong_chain";
    /// The transaction is larger than a transaction may be.
    TooLarge = 66, "too_large";
    /// The sender has no account on this chain.
    SenderUnknown = 67, "sender_unknown";
    /// The nonce was used before.
    NonceUsed = 68, "nonce_used";
    /// The nonce is further ahead than this node keeps in flight.
    NonceTooFar = 69, "nonce_too_far";
    /// The same bytes arrived a moment ago.
    Resent = 70, "resent";
    /// Too many accounts are being created at this moment; send it again later.
    CreationBusy = 71, "creation_busy";
    /// The signature does not belong to the sender and the bytes.
    BadSignature = 72, "bad_signature";
    /// The timestamp is too far from this node's clock.
    ClockWindow = 73, "clock_window";
    /// The node is stopping.
    Stopping = 74, "stopping";
    /// This node is in no validator set now or in the next epoch, so no block would list what it takes in; send it to a validator.
    NotValidator = 75, "not_validator";
}

impl Code {
    /// Whether execution passed over the transaction: nothing is final about it, and the same bytes may take effect later.
    pub fn is_skipped(self) -> bool {
        matches!(self, Code::Duplicate | Code::NonceGap | Code::UnknownSender | Code::AccountsPerBlock)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_names_are_unique_and_read_back() {
        let mut names: Vec<_> = Code::ALL.iter().map(|code| code.name()).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), Code::ALL.len());
        for &code in Code::ALL {
            assert_eq!(Code::from_u8(code as u8), Some(code));
            assert!(code.explanation().ends_with('.'), "{code:?}");
        }
    }
}
