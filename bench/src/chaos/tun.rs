//! A TUN device: a network interface whose other end is a file of this program.
//!
//! What the kernel sends into the interface is read from the file, one IP packet a read, and what is written to the file arrives at the
//! interface. The interface may be moved into another network namespace afterwards; the file stays here. It is gone with the file.
//!
//! This is the one module of the package with `unsafe`: making the interface is an `ioctl` that no safe library function covers.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{Mode, OFlags, open};
use rustix::io::Errno;
use rustix::ioctl::{Opcode, Updater, ioctl};

/// The most bytes of an interface's name, its terminating zero left out.
pub const NAME_BYTES_MAX: usize = 15;
/// `TUNSETIFF` of `linux/if_tun.h`.
const TUNSETIFF: Opcode = 0x4004_54ca;
/// IP packets without Ethernet headers (`IFF_TUN`), and without a header in front of each (`IFF_NO_PI`).
const FLAGS: i16 = 0x0001 | 0x1000;

/// `struct ifreq` of `net/if.h`, as far as `TUNSETIFF` uses it: 40 bytes.
#[repr(C)]
struct InterfaceRequest {
    name: [u8; 16],
    flags: i16,
    rest: [u8; 22],
}

/// The file of an interface.
#[derive(Debug)]
pub struct Tun {
    file: OwnedFd,
    name: String,
}

impl Tun {
    /// Makes the interface `name` in the network namespace of this process. Reads and writes do not wait.
    ///
    /// # Errors
    /// What the system says: no permission, no `/dev/net/tun`, or the name is taken or longer than [`NAME_BYTES_MAX`].
    pub fn create(name: &str) -> io::Result<Self> {
        if name.is_empty() || name.len() > NAME_BYTES_MAX {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, format!("{name:?} is no name of an interface")));
        }
        let file = open("/dev/net/tun", OFlags::RDWR | OFlags::NONBLOCK | OFlags::CLOEXEC, Mode::empty())?;
        let mut request = InterfaceRequest { name: [0; 16], flags: FLAGS, rest: [0; 22] };
        request.name[..name.len()].copy_from_slice(name.as_bytes());
        // SAFETY: `TUNSETIFF` reads and writes one `struct ifreq`, which `InterfaceRequest` has the size and the layout of, and which
        // outlives the call; the file is open. The kernel keeps no pointer to it.
        unsafe { ioctl(&file, Updater::<TUNSETIFF, InterfaceRequest>::new(&mut request)) }?;
        Ok(Self { file, name: name.to_owned() })
    }

    /// The interface's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The next packet that was sent into the interface; none when there is no more at the moment.
    ///
    /// # Errors
    /// What the system says; that the interface is down counts as no packet.
    pub fn read(&self, buffer: &mut [u8]) -> io::Result<Option<usize>> {
        match rustix::io::read(&self.file, buffer) {
            Ok(count) => Ok(Some(count)),
            Err(Errno::AGAIN | Errno::INTR | Errno::IO) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Lets `packet` arrive at the interface; false when it takes none, as an interface that is down does.
    pub fn write(&self, packet: &[u8]) -> bool {
        rustix::io::write(&self.file, packet).is_ok_and(|count| count == packet.len())
    }
}

impl AsFd for Tun {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_request_has_the_size_of_the_kernels() {
        assert_eq!((size_of::<InterfaceRequest>(), align_of::<InterfaceRequest>()), (40, 2));
    }

    #[test]
    fn names_that_no_interface_can_have_are_refused() {
        for name in ["", "sixteen-letters-"] {
            assert_eq!(Tun::create(name).unwrap_err().kind(), io::ErrorKind::InvalidInput);
        }
    }
}
