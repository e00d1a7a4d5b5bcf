//! Where agreement goes on behind a sync: the snapshot's header with its certificate, and the blocks behind it that were proven with it.
//!
//! It is kept in `sync/floor`, so that a node that stops before agreement has taken it over still finds it.
//! Layout: version 2, header (4 + n), certificate (4 + n), then the chain as in a proof. Certificates and hashes in it are its checksum.

use std::path::{Path, PathBuf};

use tana_types::codec::{DecodeError, Reader, Writer};
use tana_types::header::BlockHeader;

use super::changes::write_synced;
use super::install::sync_folder;
use super::manifest::{read_header, write_header};
use super::proof::{FinalChain, read_certificate, write_certificate};

/// The only version.
const VERSION: u16 = 1;

/// See the module's text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Floor {
    /// The header of the snapshot's height.
    pub header: BlockHeader,
    /// Its certificate.
    pub certificate: Vec<u8>,
    /// The blocks behind it, over the one that attests it to one with a certificate.
    pub chain: FinalChain,
}

impl Floor {
    /// Where it lies.
    pub fn path(data: &Path) -> PathBuf {
        sync_folder(data).join("floor")
    }

    /// The canonical bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::with_capacity(4_096);
        writer.u16(VERSION);
        write_header(&mut writer, &self.header);
        write_certificate(&mut writer, &self.certificate);
        self.chain.encode(&mut writer);
        writer.finish()
    }

    /// Reads canonical bytes.
    ///
    /// # Errors
    /// What is wrong with them.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        if reader.u16("version")? != VERSION {
            return Err(DecodeError::Invalid { field: "version", rule: "1" });
        }
        let floor = Self {
            header: read_header(&mut reader)?,
            certificate: read_certificate(&mut reader)?,
            chain: FinalChain::decode(&mut reader)?,
        };
        reader.finish()?;
        Ok(floor)
    }

    /// Writes it under the data folder, synced.
    ///
    /// # Errors
    /// What the system says.
    pub fn save(&self, data: &Path) -> std::io::Result<()> {
        write_synced(&Self::path(data), &self.encode())
    }

    /// Reads it; none when this node never synced.
    ///
    /// # Errors
    /// When it cannot be read or breaks its layout.
    pub fn load(data: &Path) -> std::io::Result<Option<Self>> {
        match std::fs::read(Self::path(data)) {
            Ok(bytes) => Self::decode(&bytes).map(Some).map_err(std::io::Error::other),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }
}
