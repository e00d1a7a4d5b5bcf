//! Currencies: a code of 3 to 10 capital letters, 0 to 18 decimals, and the total of what exists.
//!
//! A currency's identifier is its place in the order of creation, from 1; 0 means "no currency" in an account's balance slot.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use thiserror::Error;

use crate::amount::DECIMALS_MAX;
use crate::codec::{DecodeError, Reader, Writer, invalid};

/// Bytes of a code on the wire, padded with zeros.
pub const CURRENCY_CODE_BYTES: usize = 12;
/// The longest currency name in bytes.
pub const CURRENCY_NAME_BYTES_MAX: usize = 64;
/// The longest currency symbol in bytes.
pub const CURRENCY_SYMBOL_BYTES_MAX: usize = 16;

/// A currency's place in the order of creation, from 1.
pub type CurrencyId = u32;

/// A text that is not a currency code.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("`{0}` is not a currency code: write 3 to 10 capital letters, such as USD")]
pub struct CurrencyCodeError(String);

/// A currency code: 3 to 10 capital letters, padded with zero bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CurrencyCode([u8; CURRENCY_CODE_BYTES]);

impl CurrencyCode {
    /// Takes the padded wire form if it is valid.
    pub fn from_bytes(bytes: [u8; CURRENCY_CODE_BYTES]) -> Option<Self> {
        let length = bytes.iter().position(|&byte| byte == 0).unwrap_or(CURRENCY_CODE_BYTES);
        let letters = bytes[..length].iter().all(u8::is_ascii_uppercase);
        let padding = bytes[length..].iter().all(|&byte| byte == 0);
        ((3..=10).contains(&length) && letters && padding).then_some(Self(bytes))
    }

    /// The padded wire form.
    pub fn as_bytes(&self) -> &[u8; CURRENCY_CODE_BYTES] {
        &self.0
    }
}

impl fmt::Display for CurrencyCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().take_while(|&&byte| byte != 0).try_for_each(|&byte| write!(f, "{}", byte as char))
    }
}

impl fmt::Debug for CurrencyCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for CurrencyCode {
    type Err = CurrencyCodeError;

    fn from_str(text: &str) -> Result<Self, CurrencyCodeError> {
        let mut bytes = [0; CURRENCY_CODE_BYTES];
        let error = || CurrencyCodeError(text.chars().take(20).collect());
        bytes.get_mut(..text.len()).ok_or_else(error)?.copy_from_slice(text.as_bytes());
        Self::from_bytes(bytes).ok_or_else(error)
    }
}

impl Serialize for CurrencyCode {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for CurrencyCode {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// Issued by a state or native to a network; has no effect on execution.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[repr(u8)]
pub enum CurrencyType {
    /// Money of a state.
    Fiat = 0,
    /// Money of a network.
    Crypto = 1,
}

/// What a currency is, without what exists of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CurrencyInfo {
    /// 3 to 10 capital letters.
    pub code: CurrencyCode,
    /// Digits behind the decimal point, 0 to 18.
    pub decimals: u8,
    /// Fiat or crypto.
    #[serde(rename = "type")]
    pub currency_type: CurrencyType,
    /// Whether the sovereign vouches for it.
    #[serde(default)]
    pub verified: bool,
    /// A name for people, at most 64 bytes.
    #[serde(default)]
    pub name: String,
    /// A symbol for people, at most 16 bytes.
    #[serde(default)]
    pub symbol: String,
}

impl CurrencyInfo {
    /// Whether every field keeps its rule.
    pub fn check(&self) -> Result<(), DecodeError> {
        if self.decimals > DECIMALS_MAX {
            return invalid("decimals", "0 to 18");
        }
        if self.name.len() > CURRENCY_NAME_BYTES_MAX {
            return invalid("name", "at most 64 bytes");
        }
        if self.symbol.len() > CURRENCY_SYMBOL_BYTES_MAX {
            return invalid("symbol", "at most 16 bytes");
        }
        Ok(())
    }

    /// Appends: code 12, decimals 1, type 1, verified 1, name (1 + n), symbol (1 + n).
    pub fn write(&self, writer: &mut Writer) {
        writer.bytes(&self.code.0).u8(self.decimals).u8(self.currency_type as u8).u8(u8::from(self.verified));
        writer.text_u8(&self.name).text_u8(&self.symbol);
    }

    /// Reads what [`CurrencyInfo::write`] wrote, checking every rule.
    pub fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let Some(code) = CurrencyCode::from_bytes(reader.array("currency")?) else {
            return invalid("currency", "3 to 10 capital letters, padded with zeros to 12 bytes");
        };
        let decimals = reader.u8("decimals")?;
        let currency_type = match reader.u8("type")? {
            0 => CurrencyType::Fiat,
            1 => CurrencyType::Crypto,
            _ => return invalid("type", "0 fiat or 1 crypto"),
        };
        let verified = match reader.u8("verified")? {
            0 => false,
            1 => true,
            _ => return invalid("verified", "0 or 1"),
        };
        let name = reader.text_u8("name")?.to_owned();
        let symbol = reader.text_u8("symbol")?.to_owned();
        let info = Self { code, decimals, currency_type, verified, name, symbol };
        info.check()?;
        Ok(info)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_three_to_ten_capital_letters() {
        for good in ["USD", "BTC", "ABCDEFGHIJ"] {
            assert_eq!(good.parse::<CurrencyCode>().unwrap().to_string(), good);
        }
        for bad in ["", "US", "usd", "US1", "ABCDEFGHIJK", "ABCDEFGHIJKLMNOP", "U D"] {
            assert!(bad.parse::<CurrencyCode>().is_err(), "{bad}");
        }
        assert!(CurrencyCode::from_bytes(*b"USD\0A\0\0\0\0\0\0\0").is_none());
    }
}
