//! The account record: a fixed part that almost every transaction touches, and an overflow that few accounts have.
//!
//! Fixed part, 96 bytes as stored in checkpoint pages and hashed into a leaf (little-endian):
//!
//! ```text
//! offset  size  field
//!      0    32  public key
//!     32     8  nonce: the last one used
//!     40     4  next: index of the account that follows in key order; u32::MAX at the end
//!     44     1  role
//!     45     1  flags: bit 0, the account has an overflow
//!     46     2  zero
//!     48     8  currencies of the two balances, 4 bytes each; 0 for none
//!     56    32  the two balances, 16 bytes each
//!     88     8  height at which the account was created
//! ```
//!
//! An account's index is dense, in order of creation. Index 0 is the sentinel: key of zeros, no balances, the start of the key order.
//! The leaf of an account without overflow is the keyed BLAKE3 hash of the 96 bytes; with one, of the 96 bytes and the overflow's hash.

use zerocopy::little_endian::{U16, U32, U64, U128};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::Hash;
use crate::codec::{DecodeError, Reader, Writer, invalid};
use crate::currency::CurrencyId;
use crate::key::PublicKey;
use crate::payload::{BIOGRAPHY_BYTES_MAX, DISPLAY_NAME_BYTES_MAX, Role};
use crate::username::Username;

/// An account's place in the order of creation.
pub type AccountIndex = u32;
/// No account: the end of the key order, or an unknown sender.
pub const NO_ACCOUNT: AccountIndex = u32::MAX;
/// The account that starts the key order and belongs to nobody.
pub const SENTINEL: AccountIndex = 0;
/// Balances held in the fixed part.
pub const INLINE_BALANCES: usize = 2;
/// The most currencies that one account may hold.
pub const ACCOUNT_CURRENCIES_MAX: usize = 64;
/// Bytes of the fixed part with its key.
pub const RECORD_BYTES: usize = 96;
/// Set in [`HotAccount::flags`] when the account has an overflow.
pub const FLAG_OVERFLOW: u8 = 1;

/// The fixed part without its key: one cache line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct HotAccount {
    /// The last nonce used.
    pub nonce: U64,
    /// The account that follows in key order.
    pub next: U32,
    /// A [`Role`].
    pub role: u8,
    /// See [`FLAG_OVERFLOW`].
    pub flags: u8,
    /// Zero.
    pub reserved: U16,
    /// Currencies of the inline balances; 0 for none.
    pub currencies: [U32; INLINE_BALANCES],
    /// Inline balances in minor units.
    pub amounts: [U128; INLINE_BALANCES],
    /// Where the account was created.
    pub created_height: U64,
}
const _: () = assert!(size_of::<HotAccount>() + 32 == RECORD_BYTES);

impl HotAccount {
    /// A new account: no balances, last in key order until linked.
    pub fn new(role: Role, created_height: u64) -> Self {
        Self {
            nonce: U64::ZERO,
            next: U32::new(NO_ACCOUNT),
            role: role as u8,
            flags: 0,
            reserved: U16::ZERO,
            currencies: [U32::ZERO; INLINE_BALANCES],
            amounts: [U128::ZERO; INLINE_BALANCES],
            created_height: U64::new(created_height),
        }
    }

    /// The 96 bytes that are stored and hashed.
    #[inline]
    pub fn record(&self, key: &PublicKey) -> [u8; RECORD_BYTES] {
        let mut record = [0; RECORD_BYTES];
        record[..32].copy_from_slice(&key.0);
        record[32..].copy_from_slice(self.as_bytes());
        record
    }

    /// Splits a stored record into key and fixed part.
    pub fn from_record(record: &[u8; RECORD_BYTES]) -> (PublicKey, Self) {
        let mut key = [0; 32];
        key.copy_from_slice(&record[..32]);
        // The length is right by type and every bit pattern is a value, so reading cannot fail.
        let hot = Self::read_from_bytes(&record[32..]).unwrap_or_else(|_| Self::new(Role::User, 0));
        (PublicKey(key), hot)
    }

    /// Whether the account has an overflow.
    pub fn has_overflow(&self) -> bool {
        self.flags & FLAG_OVERFLOW != 0
    }
}

/// What few accounts have: a username, texts about its holder, balances beyond the inline two.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Overflow {
    /// The unique name.
    pub username: Option<Username>,
    /// At most 100 bytes.
    pub display_name: String,
    /// At most 1,000 bytes.
    pub biography: String,
    /// Further balances, by currency, ascending; never zero.
    pub balances: Vec<(CurrencyId, u128)>,
}

impl Overflow {
    /// Whether nothing is in it, so that the account needs none.
    pub fn is_empty(&self) -> bool {
        self.username.is_none() && self.display_name.is_empty() && self.biography.is_empty() && self.balances.is_empty()
    }

    /// The canonical bytes: version 1, username, display name, biography, count (2), then currency (4) and amount (16) each.
    pub fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::with_capacity(64);
        writer.u8(1).text_u8(self.username.as_ref().map_or("", Username::as_str));
        writer.text_u8(&self.display_name).text_u16(&self.biography).u16(self.balances.len() as u16);
        for &(currency, amount) in &self.balances {
            writer.u32(currency).u128(amount);
        }
        writer.finish()
    }

    /// Reads canonical bytes; anything else is refused.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        if reader.u8("version")? != 1 {
            return invalid("version", "1");
        }
        let username = match reader.text_u8("username")? {
            "" => None,
            name => Some(Username::new(name).or_else(|_| invalid("username", "@ and 1 to 49 of a-z, 0-9, _ and -"))?),
        };
        let display_name = reader.text_u8("display_name")?.to_owned();
        let biography = reader.text_u16("biography")?.to_owned();
        if display_name.len() > DISPLAY_NAME_BYTES_MAX || biography.len() > BIOGRAPHY_BYTES_MAX {
            return invalid("display_name or biography", "longer than this text may be");
        }
        let count = reader.u16("balance count")? as usize;
        if count > ACCOUNT_CURRENCIES_MAX {
            return invalid("balance count", "at most 64");
        }
        let mut balances: Vec<(CurrencyId, u128)> = Vec::with_capacity(count);
        for _ in 0..count {
            let entry = (reader.u32("balance currency")?, reader.u128("balance amount")?);
            if balances.last().is_some_and(|last| last.0 >= entry.0) || entry.1 == 0 {
                return invalid("balances", "ascending by currency and never zero");
            }
            balances.push(entry);
        }
        reader.finish()?;
        Ok(Self { username, display_name, biography, balances })
    }

    /// What the account's leaf commits to.
    pub fn hash(&self) -> Hash {
        *blake3::hash(&self.encode()).as_bytes()
    }
}
