//! A checked reader and a plain writer for the little-endian layouts that are decoded once and kept, such as block headers.
//!
//! The hot path does not come here: transactions are looked at in place (see [`crate::transaction`]). Every read names what it wanted,
//! so that an error says where the bytes went wrong.

use thiserror::Error;

/// The most that heights, epochs, sequences and times from outside may be: whoever counts on from such a number cannot overflow.
pub const COUNTER_MAX: u64 = u64::MAX >> 1;

/// Why bytes from outside were refused.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum DecodeError {
    /// The input ended before the named field.
    #[error("the bytes end before the field `{field}` (needs {needed} more bytes, {left} are left)")]
    Short {
        /// The field that was being read.
        field: &'static str,
        /// Bytes the field needs.
        needed: usize,
        /// Bytes that were left.
        left: usize,
    },
    /// A field holds a value that its rule forbids.
    #[error("the field `{field}` is not valid: {rule}")]
    Invalid {
        /// The field that was refused.
        field: &'static str,
        /// The rule that it breaks.
        rule: &'static str,
    },
    /// Bytes were left over after the last field.
    #[error("{left} bytes follow the last field")]
    Trailing {
        /// How many bytes were left.
        left: usize,
    },
}

/// Shorthand for a refused field.
pub(crate) fn invalid<T>(field: &'static str, rule: &'static str) -> Result<T, DecodeError> {
    Err(DecodeError::Invalid { field, rule })
}

/// Reads little-endian fields from a slice, in order.
pub struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// A reader at the start of `bytes`.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// The next `count` bytes.
    pub fn bytes(&mut self, count: usize, field: &'static str) -> Result<&'a [u8], DecodeError> {
        match self.rest.split_at_checked(count) {
            Some((head, tail)) => {
                self.rest = tail;
                Ok(head)
            }
            None => Err(DecodeError::Short { field, needed: count, left: self.rest.len() }),
        }
    }

    /// The next `N` bytes as an array.
    pub fn array<const N: usize>(&mut self, field: &'static str) -> Result<[u8; N], DecodeError> {
        let mut out = [0; N];
        out.copy_from_slice(self.bytes(N, field)?);
        Ok(out)
    }

    /// One byte.
    pub fn u8(&mut self, field: &'static str) -> Result<u8, DecodeError> {
        Ok(self.array::<1>(field)?[0])
    }

    /// A `u16`.
    pub fn u16(&mut self, field: &'static str) -> Result<u16, DecodeError> {
        Ok(u16::from_le_bytes(self.array(field)?))
    }

    /// A `u32`.
    pub fn u32(&mut self, field: &'static str) -> Result<u32, DecodeError> {
        Ok(u32::from_le_bytes(self.array(field)?))
    }

    /// A `u64`.
    pub fn u64(&mut self, field: &'static str) -> Result<u64, DecodeError> {
        Ok(u64::from_le_bytes(self.array(field)?))
    }

    /// A `u128`.
    pub fn u128(&mut self, field: &'static str) -> Result<u128, DecodeError> {
        Ok(u128::from_le_bytes(self.array(field)?))
    }

    /// A UTF-8 text behind a one-byte length.
    pub fn text_u8(&mut self, field: &'static str) -> Result<&'a str, DecodeError> {
        let length = self.u8(field)? as usize;
        self.text(length, field)
    }

    /// A UTF-8 text behind a two-byte length.
    pub fn text_u16(&mut self, field: &'static str) -> Result<&'a str, DecodeError> {
        let length = self.u16(field)? as usize;
        self.text(length, field)
    }

    fn text(&mut self, length: usize, field: &'static str) -> Result<&'a str, DecodeError> {
        let bytes = self.bytes(length, field)?;
        std::str::from_utf8(bytes).map_err(|_| DecodeError::Invalid { field, rule: "must be UTF-8" })
    }

    /// How many bytes have not been read.
    pub fn remaining(&self) -> usize {
        self.rest.len()
    }

    /// Ends the reading; anything left over is an error.
    pub fn finish(self) -> Result<(), DecodeError> {
        if self.rest.is_empty() { Ok(()) } else { Err(DecodeError::Trailing { left: self.rest.len() }) }
    }
}

/// Appends little-endian fields to a byte vector.
#[derive(Default)]
pub struct Writer {
    bytes: Vec<u8>,
}

impl Writer {
    /// An empty writer with room for `capacity` bytes.
    pub fn with_capacity(capacity: usize) -> Self {
        Self { bytes: Vec::with_capacity(capacity) }
    }

    /// Appends raw bytes.
    pub fn bytes(&mut self, bytes: &[u8]) -> &mut Self {
        self.bytes.extend_from_slice(bytes);
        self
    }

    /// Appends one byte.
    pub fn u8(&mut self, value: u8) -> &mut Self {
        self.bytes(&[value])
    }

    /// Appends a `u16`.
    pub fn u16(&mut self, value: u16) -> &mut Self {
        self.bytes(&value.to_le_bytes())
    }

    /// Appends a `u32`.
    pub fn u32(&mut self, value: u32) -> &mut Self {
        self.bytes(&value.to_le_bytes())
    }

    /// Appends a `u64`.
    pub fn u64(&mut self, value: u64) -> &mut Self {
        self.bytes(&value.to_le_bytes())
    }

    /// Appends a `u128`.
    pub fn u128(&mut self, value: u128) -> &mut Self {
        self.bytes(&value.to_le_bytes())
    }

    /// Appends a text behind a one-byte length; the caller has checked that it is at most 255 bytes.
    pub fn text_u8(&mut self, text: &str) -> &mut Self {
        debug_assert!(text.len() <= u8::MAX as usize);
        self.u8(text.len() as u8).bytes(text.as_bytes())
    }

    /// Appends a text behind a two-byte length; the caller has checked that it is at most 65,535 bytes.
    pub fn text_u16(&mut self, text: &str) -> &mut Self {
        debug_assert!(text.len() <= u16::MAX as usize);
        self.u16(text.len() as u16).bytes(text.as_bytes())
    }

    /// The bytes written.
    pub fn finish(self) -> Vec<u8> {
        self.bytes
    }
}
