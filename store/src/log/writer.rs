//! The two writers behind one interface: positional writes, and io_uring through tokio-uring.
//!
//! Both write whole blocks to files written ahead. With direct I/O a finished write is durable (`O_DSYNC`); where the file
//! system refuses direct I/O, an `fdatasync` follows each write. The io_uring runtime must be made and used on one thread,
//! so a writer is made on the log thread and never leaves it.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use tokio_uring::buf::BoundedBuf;

use super::segment::Durability;
use super::staging::AlignedBuffer;

/// A writer for a fixed set of logs.
pub(super) enum Writer {
    /// Positional writes.
    Plain { files: Vec<Option<File>>, durability: Durability },
    /// io_uring. The files are dropped before the runtime.
    Uring { files: Vec<Option<tokio_uring::fs::File>>, runtime: Box<tokio_uring::Runtime>, durability: Durability },
}

impl Writer {
    /// A plain writer for `logs` logs.
    pub fn plain(logs: usize, durability: Durability) -> Self {
        Self::Plain { files: (0..logs).map(|_| None).collect(), durability }
    }

    /// An io_uring writer; an error where the kernel denies io_uring.
    pub fn uring(logs: usize, durability: Durability) -> io::Result<Self> {
        // Asked first with the plain crate: the runtime's own driver may panic where the kernel denies io_uring.
        drop(io_uring::IoUring::new(8)?);
        let runtime = tokio_uring::Runtime::new(&tokio_uring::builder())?;
        Ok(Self::Uring { files: (0..logs).map(|_| None).collect(), runtime: Box::new(runtime), durability })
    }

    /// From now on log number `log` is written to `file`; `log` is below the count given at the start.
    pub fn attach(&mut self, log: usize, file: File) {
        match self {
            Self::Plain { files, .. } => files[log] = Some(file),
            Self::Uring { files, .. } => files[log] = Some(tokio_uring::fs::File::from_std(file)),
        }
    }

    /// Writes the first `length` bytes of `buffer` at `offset` and returns when they are durable. `length` and `offset` are
    /// multiples of the block size.
    pub fn write(&mut self, log: usize, buffer: &mut AlignedBuffer, length: usize, offset: u64) -> io::Result<()> {
        let missing = || io::Error::new(io::ErrorKind::NotFound, "no segment is open for this log");
        match self {
            Self::Plain { files, durability } => {
                let file = files[log].as_ref().ok_or_else(missing)?;
                file.write_all_at(&buffer.bytes()[..length], offset)?;
                if *durability == Durability::Synced { file.sync_data() } else { Ok(()) }
            }
            Self::Uring { files, runtime, durability } => {
                let file = files[log].as_ref().ok_or_else(missing)?;
                let (memory, start) = buffer.take();
                let (memory, result) = runtime.block_on(write_uring(file, memory, start, length, offset));
                buffer.put_back(memory);
                result?;
                if *durability == Durability::Synced { runtime.block_on(file.sync_data()) } else { Ok(()) }
            }
        }
    }
}

/// Writes `memory[start..start + length]`, going on after short writes, and gives the memory back.
async fn write_uring(
    file: &tokio_uring::fs::File,
    mut memory: Vec<u8>,
    start: usize,
    length: usize,
    offset: u64,
) -> (Vec<u8>, io::Result<()>) {
    let mut done = 0;
    while done < length {
        let slice = memory.slice(start + done..start + length);
        let (result, slice) = file.write_at(slice, offset + done as u64).submit().await;
        memory = slice.into_inner();
        match result {
            Ok(0) => return (memory, Err(io::ErrorKind::WriteZero.into())),
            Ok(count) => done += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return (memory, Err(error)),
        }
    }
    (memory, Ok(()))
}
