//! The block as agreement sees it: the canonical bytes of our header, behind their length.
//!
//! A block lists batches by digest, so it stays a few kilobytes and travels whole. Its digest is the header's hash, the same 32 bytes that
//! the order log, the certificates and the next header's `parent` name it by. The chain's start is a block of its own, at height 0: it
//! has no header, its digest is the genesis hash.
//!
//! ```text
//! block:    length 4 (little-endian), then that many bytes of the header
//! genesis:  length 32, then the genesis hash
//! ```
//!
//! A header has at least 232 bytes, so the two cannot be taken for each other. The decoder knows the chain's genesis hash and takes no
//! other; it takes exactly the bytes that the encoder would write.

use bytes::{BufMut, Bytes};
use commonware_codec::{Buf, EncodeSize, Error as CodecError, Read, Write};
use commonware_consensus::types::Height;
use commonware_consensus::{BoundedBlock, Heightable};
use commonware_cryptography::{Digested, Digestible};
use tana_types::Hash;
use tana_types::header::{BlockHeader, HEADER_BYTES_MAX};

/// What agreement names a block by: the header's hash.
pub type Digest = commonware_cryptography::blake3::Digest;

/// Bytes in front of a block that say how long it is.
const LENGTH_BYTES: usize = 4;

/// What the decoder of blocks must know: the chain that it is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BlockConfig {
    /// The genesis hash: the digest of the only block without a header.
    pub genesis_hash: Hash,
}

/// A block: a header with its hash, or the chain's start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Block {
    header: Option<BlockHeader>,
    hash: Hash,
    content: Bytes,
}

#[cfg(test)]
#[path = "block_tests.rs"]
mod tests;

impl Block {
    /// The chain's start, at height 0.
    pub fn genesis(genesis_hash: Hash) -> Self {
        Self { header: None, hash: genesis_hash, content: Bytes::copy_from_slice(&genesis_hash) }
    }

    /// The block of a header.
    pub fn new(header: BlockHeader) -> Self {
        let (hash, content) = (header.hash(), header.encode().into());
        Self { header: Some(header), hash, content }
    }

    /// The header; none at height 0.
    pub fn header(&self) -> Option<&BlockHeader> {
        self.header.as_ref()
    }

    /// The header's hash; at height 0 the genesis hash.
    pub fn hash(&self) -> Hash {
        self.hash
    }

    /// The block with its digest beside it, as the library hands blocks on.
    pub fn digested(self) -> Digested<Self> {
        let digest = self.digest();
        Digested::precomputed(self, digest)
    }
}

impl Write for Block {
    fn write(&self, buffer: &mut impl BufMut) {
        buffer.put_u32_le(self.content.len() as u32);
        buffer.put_slice(&self.content);
    }
}

impl EncodeSize for Block {
    fn encode_size(&self) -> usize {
        LENGTH_BYTES + self.content.len()
    }
}

impl Read for Block {
    type Cfg = BlockConfig;

    fn read_cfg(buffer: &mut impl Buf, config: &BlockConfig) -> Result<Self, CodecError> {
        if buffer.remaining() < LENGTH_BYTES {
            return Err(CodecError::EndOfBuffer);
        }
        let length = buffer.get_u32_le() as usize;
        if length > HEADER_BYTES_MAX {
            return Err(CodecError::InvalidLength(length));
        }
        if buffer.remaining() < length {
            return Err(CodecError::EndOfBuffer);
        }
        let mut content = vec![0; length];
        buffer.copy_to_slice(&mut content);
        if length == 32 {
            if content != config.genesis_hash {
                return Err(CodecError::Invalid("Block", "the start of another chain"));
            }
            return Ok(Self::genesis(config.genesis_hash));
        }
        match BlockHeader::decode(&content) {
            Ok(header) => Ok(Self::new(header)),
            Err(_) => Err(CodecError::Invalid("Block", "not the canonical bytes of a header")),
        }
    }
}

impl Digestible for Block {
    type Digest = Digest;

    fn digest(&self) -> Digest {
        digest(&self.hash)
    }
}

impl Heightable for Block {
    fn height(&self) -> Height {
        Height::new(self.header.as_ref().map_or(0, |header| header.height))
    }
}

impl commonware_consensus::Block for Block {
    fn parent(&self) -> Digest {
        self.header.as_ref().map_or(digest(&[0; 32]), |header| digest(&header.parent))
    }
}

impl BoundedBlock for Block {
    fn max_encode_size(_: &BlockConfig) -> usize {
        LENGTH_BYTES + HEADER_BYTES_MAX
    }
}

/// A hash as the library's digest.
pub fn digest(hash: &Hash) -> Digest {
    commonware_cryptography::blake3::Digest(*hash)
}

/// The library's digest as a hash.
pub fn hash(digest: &Digest) -> Hash {
    digest.0
}
