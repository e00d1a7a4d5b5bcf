//! The network between the machines of a test: packets from TUN device to TUN device by their destination address, with faults.
//!
//! 1. One thread waits for packets on all devices, or for the next one under way to be due.
//! 2. A packet's wire is the ordered pair of the device that it came from and the one that has its destination; [`super::wire`] decides
//!    what becomes of it. A packet to nobody, or that is no IPv4, is counted and dropped.
//! 3. Faults are set by the program at any time and hold from the next packet on. A cut also loses what is under way.
//!
//! Each packet costs a read and a write. A device is read [`BURST`] times before the next one has its turn.

use std::io;
use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use serde::Serialize;

use super::tun::Tun;
use super::wire::{Fate, Fault, Wire};
use crate::dice::Dice;

/// The most places: validators, twins, and the program itself.
pub const PLACES_MAX: usize = 64;
/// Packets that are read from one device in a row.
const BURST: usize = 64;
/// The largest packet that IPv4 has.
const PACKET_BYTES_MAX: usize = 65_535;
/// How long the thread waits at most until it looks whether it is to stop, or whether faults changed.
const LOOK: Duration = Duration::from_millis(20);

/// Packets since the start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct SwitchCounts {
    /// Delivered.
    pub delivered: u64,
    /// Bytes of these.
    pub bytes: u64,
    /// Lost by faults.
    pub lost: u64,
    /// Without a place to go to, no IPv4, or refused by the device.
    pub dropped: u64,
}

#[derive(Debug, Default)]
struct Shared {
    faults: Mutex<Vec<Vec<Fault>>>,
    version: AtomicU64,
    stopping: AtomicBool,
    delivered: AtomicU64,
    bytes: AtomicU64,
    lost: AtomicU64,
    dropped: AtomicU64,
}

impl Shared {
    fn faults(&self) -> MutexGuard<'_, Vec<Vec<Fault>>> {
        self.faults.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A running switch. It stops with its handle.
#[derive(Debug)]
pub struct Switch {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl Switch {
    /// Connects `places`: each a device and the address behind it. `seed` decides which packets are lost.
    ///
    /// # Errors
    /// What the system says when it gives no thread, or [`io::ErrorKind::InvalidInput`] for more than [`PLACES_MAX`] places.
    pub fn start(places: Vec<(Tun, Ipv4Addr)>, seed: u64) -> io::Result<Self> {
        let count = places.len();
        if count > PLACES_MAX {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                format!("a switch has at most {PLACES_MAX} places"),
            ));
        }
        let shared = Arc::new(Shared::default());
        *shared.faults() = vec![vec![Fault::default(); count]; count];
        let forwarder = Forwarder {
            wires: (0..count).map(|_| (0..count).map(|_| Wire::default()).collect()).collect(),
            faults: vec![vec![Fault::default(); count]; count],
            places,
            version: 0,
            dice: Dice::new(seed),
            begun: Instant::now(),
            shared: shared.clone(),
        };
        let thread = std::thread::Builder::new().name("switch".to_owned()).spawn(move || forwarder.run())?;
        Ok(Self { shared, thread: Some(thread) })
    }

    /// Sets what happens from place `from` to place `to`.
    pub fn set(&self, from: usize, to: usize, fault: Fault) {
        if let Some(place) = self.shared.faults().get_mut(from).and_then(|row| row.get_mut(to)) {
            *place = fault;
        }
        self.shared.version.fetch_add(1, Ordering::Release);
    }

    /// The same in both directions.
    pub fn set_both(&self, one: usize, other: usize, fault: Fault) {
        self.set(one, other, fault);
        self.set(other, one, fault);
    }

    /// Makes all wires good.
    pub fn heal(&self) {
        self.shared.faults().iter_mut().flatten().for_each(|fault| *fault = Fault::default());
        self.shared.version.fetch_add(1, Ordering::Release);
    }

    /// What happened so far.
    pub fn counts(&self) -> SwitchCounts {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let Shared { delivered, bytes, lost, dropped, .. } = &*self.shared;
        SwitchCounts { delivered: read(delivered), bytes: read(bytes), lost: read(lost), dropped: read(dropped) }
    }
}

impl Drop for Switch {
    fn drop(&mut self) {
        self.shared.stopping.store(true, Ordering::SeqCst);
        if let Some(thread) = self.thread.take() {
            // A thread that panicked has printed why; the devices are gone either way.
            let _ = thread.join();
        }
    }
}

/// The destination of an IPv4 packet.
fn destination(packet: &[u8]) -> Option<Ipv4Addr> {
    let is_version_4 = packet.first()? >> 4 == 4;
    let bytes: [u8; 4] = packet.get(16..20)?.try_into().ok()?;
    is_version_4.then(|| bytes.into())
}

struct Forwarder {
    places: Vec<(Tun, Ipv4Addr)>,
    wires: Vec<Vec<Wire>>,
    faults: Vec<Vec<Fault>>,
    version: u64,
    dice: Dice,
    begun: Instant,
    shared: Arc<Shared>,
}

impl Forwarder {
    fn run(mut self) {
        let mut buffer = vec![0; PACKET_BYTES_MAX];
        while !self.shared.stopping.load(Ordering::Relaxed) {
            let ready = self.wait();
            self.take_over_faults();
            for from in ready {
                for _ in 0..BURST {
                    match self.places[from].0.read(&mut buffer) {
                        Ok(Some(count)) => self.forward(from, &buffer[..count]),
                        Ok(None) | Err(_) => break,
                    }
                }
            }
            self.deliver_due();
        }
    }

    /// Waits for packets; the places that have some.
    fn wait(&self) -> Vec<usize> {
        let now = self.begun.elapsed();
        let due = self.wires.iter().flatten().filter_map(Wire::next_due).min();
        let pause = due.map_or(LOOK, |due| due.saturating_sub(now).min(LOOK));
        let timeout = Timespec { tv_sec: 0, tv_nsec: i64::from(pause.subsec_nanos()) };
        let mut files: Vec<_> = self.places.iter().map(|(tun, _)| PollFd::new(tun, PollFlags::IN)).collect();
        // An interrupted wait is a short one.
        let _ = poll(&mut files, Some(&timeout));
        let is_ready = |(place, file): (usize, &PollFd<'_>)| file.revents().contains(PollFlags::IN).then_some(place);
        files.iter().enumerate().filter_map(is_ready).collect()
    }

    fn take_over_faults(&mut self) {
        let version = self.shared.version.load(Ordering::Acquire);
        if version == self.version {
            return;
        }
        self.version = version;
        self.faults.clone_from(&self.shared.faults());
        for (wire, fault) in self.wires.iter_mut().flatten().zip(self.faults.iter().flatten()) {
            if fault.cut {
                self.shared.lost.fetch_add(wire.clear(), Ordering::Relaxed);
            }
        }
    }

    fn forward(&mut self, from: usize, packet: &[u8]) {
        let address = destination(packet);
        let to = address.and_then(|address| self.places.iter().position(|(_, place)| *place == address));
        let Some(to) = to else {
            self.shared.dropped.fetch_add(1, Ordering::Relaxed);
            return;
        };
        let now = self.begun.elapsed();
        match self.wires[from][to].take(&self.faults[from][to], packet, now, &mut self.dice) {
            Fate::Now => self.deliver(to, packet),
            Fate::Later => {}
            Fate::Lost => {
                self.shared.lost.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    fn deliver(&self, to: usize, packet: &[u8]) {
        if self.places[to].0.write(packet) {
            self.shared.delivered.fetch_add(1, Ordering::Relaxed);
            self.shared.bytes.fetch_add(packet.len() as u64, Ordering::Relaxed);
        } else {
            self.shared.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn deliver_due(&mut self) {
        let now = self.begun.elapsed();
        for from in 0..self.places.len() {
            for to in 0..self.places.len() {
                while let Some(packet) = self.wires[from][to].arrived(now) {
                    self.deliver(to, &packet);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_ipv4_has_a_destination() {
        let mut packet = [0; 20];
        packet[0] = 0x45;
        packet[16..].copy_from_slice(&[10, 1, 2, 3]);
        assert_eq!(destination(&packet), Some(Ipv4Addr::new(10, 1, 2, 3)));
        packet[0] = 0x60;
        assert_eq!(destination(&packet), None);
        assert_eq!((destination(&[]), destination(&[0x45; 19])), (None, None));
    }
}
