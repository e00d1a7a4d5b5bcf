//! A record of the order log: a block's header and the certificate that made it final, where there is one.
//!
//! ```text
//! offset  size  field
//!      0     4  bytes of the header, at most HEADER_BYTES_MAX
//!      4     n  the header
//!  4 + n     m  the certificate, to the end of the record; empty when consensus is off, or when the block became final through a
//!               later one and its own certificate never came
//! ```
//!
//! The certificate is opaque here: the crate `tana-consensus` made it and can check it.

use tana_types::codec::DecodeError;
use tana_types::header::{BlockHeader, HEADER_BYTES_MAX};

/// The most bytes of a certificate: one signature and a few bytes for each of 256 validators leave more than half of it unused.
pub const CERTIFICATE_BYTES_MAX: usize = 64 << 10;
/// Bytes of the length in front.
const LENGTH_BYTES: usize = 4;

/// The first part of a record: everything in front of the certificate.
pub fn encode_head(header: &BlockHeader) -> Vec<u8> {
    let header = header.encode();
    let mut head = Vec::with_capacity(LENGTH_BYTES + header.len());
    // A header has at most HEADER_BYTES_MAX bytes, which is far below 4 GiB.
    head.extend_from_slice(&(header.len() as u32).to_le_bytes());
    head.extend_from_slice(&header);
    head
}

/// Reads a record: the header and the certificate's bytes.
pub fn decode(record: &[u8]) -> Result<(BlockHeader, &[u8]), DecodeError> {
    let Some((length, rest)) = record.split_first_chunk::<LENGTH_BYTES>() else {
        return Err(DecodeError::Short { field: "header length", needed: LENGTH_BYTES, left: record.len() });
    };
    let length = u32::from_le_bytes(*length) as usize;
    if length > HEADER_BYTES_MAX {
        return Err(DecodeError::Invalid { field: "header length", rule: "at most the largest header" });
    }
    let Some((header, certificate)) = rest.split_at_checked(length) else {
        return Err(DecodeError::Short { field: "header", needed: length, left: rest.len() });
    };
    if certificate.len() > CERTIFICATE_BYTES_MAX {
        return Err(DecodeError::Invalid { field: "certificate", rule: "at most 64 KiB" });
    }
    Ok((BlockHeader::decode(header)?, certificate))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn header() -> BlockHeader {
        BlockHeader {
            height: 7,
            epoch: 0,
            parent: [1; 32],
            proposer: [2; 32],
            timestamp_ms: 3,
            executed_height: 5,
            state_root: [4; 32],
            receipts_root: [5; 32],
            transaction_root: [6; 32],
            transaction_count: 0,
            validator_set_hash: [7; 32],
            lanes: Vec::new(),
        }
    }

    #[test]
    fn header_and_certificate_come_back() {
        for certificate in [&b""[..], &[9; 300]] {
            let record = [&encode_head(&header()), certificate].concat();
            assert_eq!(decode(&record).unwrap(), (header(), certificate));
        }
    }

    #[test]
    fn cut_and_inflated_records_are_refused() {
        let record = encode_head(&header());
        for length in 0..record.len() {
            assert!(decode(&record[..length]).is_err(), "{length}");
        }
        let mut inflated = record.clone();
        inflated[..4].copy_from_slice(&u32::MAX.to_le_bytes());
        assert!(decode(&inflated).is_err());
        let long = [record.as_slice(), &vec![0; CERTIFICATE_BYTES_MAX + 1]].concat();
        assert!(decode(&long).is_err());
    }
}
