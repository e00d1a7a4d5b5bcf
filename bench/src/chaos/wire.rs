//! What happens to packets between two places: pure rules, time and chance come in.
//!
//! A [`Fault`] says how one direction of one pair behaves. A [`Wire`] is that direction's state:
//!
//! 1. A cut wire loses every packet; otherwise one is lost with the given chance.
//! 2. What is not lost arrives after the delay and a part of the jitter, but never before an earlier packet: like a queue in a router,
//!    and unlike a shuffle, which QUIC would take for loss.
//! 3. Packets under way are bounded in bytes; what comes beyond is lost, as in a router whose buffer is full.

use std::collections::VecDeque;
use std::time::Duration;

use crate::dice::Dice;

/// Bytes under way on one wire: 100 ms at 5 Gbit/s.
pub const UNDER_WAY_BYTES_MAX: usize = 64 << 20;
/// What a chance of loss is counted in.
const MILLION: u64 = 1_000_000;

/// How one direction between two places behaves. The default is a good wire.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Fault {
    /// Nothing arrives.
    pub cut: bool,
    /// The chance of a packet to be lost, in millionths.
    pub loss_millionths: u32,
    /// How long a packet takes.
    pub delay: Duration,
    /// The most that it takes longer.
    pub jitter: Duration,
}

impl Fault {
    /// A wire that nothing arrives on.
    pub const CUT: Self = Self { cut: true, loss_millionths: 0, delay: Duration::ZERO, jitter: Duration::ZERO };

    /// A wire of so many percent of loss and so many milliseconds of delay and jitter.
    pub fn lossy(loss_percent: u32, delay_ms: u64, jitter_ms: u64) -> Self {
        Self {
            cut: false,
            loss_millionths: loss_percent.saturating_mul(10_000),
            delay: Duration::from_millis(delay_ms),
            jitter: Duration::from_millis(jitter_ms),
        }
    }
}

/// What becomes of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It arrives at once.
    Now,
    /// It arrives later; it has been put on the wire.
    Later,
    /// It is lost.
    Lost,
}

/// One direction between two places.
#[derive(Debug, Default)]
pub struct Wire {
    under_way: VecDeque<(Duration, Vec<u8>)>,
    bytes: usize,
}

impl Wire {
    /// Takes a packet at time `now`. The caller delivers it itself when it arrives at once.
    pub fn take(&mut self, fault: &Fault, packet: &[u8], now: Duration, dice: &mut Dice) -> Fate {
        if fault.cut || (fault.loss_millionths > 0 && dice.below(MILLION) < u64::from(fault.loss_millionths)) {
            return Fate::Lost;
        }
        if self.under_way.is_empty() && fault.delay.is_zero() && fault.jitter.is_zero() {
            return Fate::Now;
        }
        if self.bytes + packet.len() > UNDER_WAY_BYTES_MAX {
            return Fate::Lost;
        }
        // A duration of centuries would not fit; no jitter is that long.
        let jitter = Duration::from_nanos(dice.below(fault.jitter.as_nanos() as u64 + 1));
        let earlier = self.under_way.back().map_or(Duration::ZERO, |(due, _)| *due);
        self.bytes += packet.len();
        self.under_way.push_back(((now + fault.delay + jitter).max(earlier), packet.to_vec()));
        Fate::Later
    }

    /// When the next packet arrives.
    pub fn next_due(&self) -> Option<Duration> {
        self.under_way.front().map(|(due, _)| *due)
    }

    /// The next packet that has arrived at time `now`.
    pub fn arrived(&mut self, now: Duration) -> Option<Vec<u8>> {
        if self.next_due()? > now {
            return None;
        }
        let (_, packet) = self.under_way.pop_front()?;
        self.bytes -= packet.len();
        Some(packet)
    }

    /// Loses everything that is under way; tells how many packets.
    pub fn clear(&mut self) -> u64 {
        self.bytes = 0;
        self.under_way.drain(..).count() as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Duration = Duration::from_secs(1);

    fn fates(fault: Fault, count: usize) -> Vec<Fate> {
        let (mut wire, mut dice) = (Wire::default(), Dice::new(1));
        (0..count).map(|_| wire.take(&fault, &[7; 100], NOW, &mut dice)).collect()
    }

    #[test]
    fn a_good_wire_delivers_at_once_and_a_cut_one_never() {
        assert_eq!(fates(Fault::default(), 3), [Fate::Now; 3]);
        assert_eq!(fates(Fault::CUT, 3), [Fate::Lost; 3]);
    }

    #[test]
    fn packets_are_lost_with_the_given_chance() {
        let lost = fates(Fault::lossy(5, 0, 0), 100_000).iter().filter(|fate| **fate == Fate::Lost).count();
        assert!((4_500..5_500).contains(&lost), "{lost}");
    }

    #[test]
    fn packets_arrive_in_order_after_delay_and_jitter() {
        let (mut wire, mut dice) = (Wire::default(), Dice::new(2));
        let fault = Fault::lossy(0, 100, 10);
        for number in 0..100u8 {
            assert_eq!(wire.take(&fault, &[number], NOW, &mut dice), Fate::Later);
        }
        assert!(wire.next_due() >= Some(NOW + fault.delay));
        assert_eq!(wire.arrived(NOW + Duration::from_millis(99)), None);
        let late = NOW + fault.delay + fault.jitter;
        let arrived: Vec<_> = std::iter::from_fn(|| wire.arrived(late)).map(|packet| packet[0]).collect();
        assert_eq!(arrived, (0..100).collect::<Vec<_>>());
        assert_eq!((wire.next_due(), wire.bytes), (None, 0));
    }

    #[test]
    fn a_wire_that_heals_keeps_the_order() {
        let (mut wire, mut dice) = (Wire::default(), Dice::new(3));
        assert_eq!(wire.take(&Fault::lossy(0, 50, 0), &[1], NOW, &mut dice), Fate::Later);
        assert_eq!(wire.take(&Fault::default(), &[2], NOW, &mut dice), Fate::Later);
        let late = NOW + Duration::from_millis(50);
        assert_eq!((wire.arrived(late), wire.arrived(late)), (Some(vec![1]), Some(vec![2])));
        assert_eq!(wire.take(&Fault::default(), &[3], NOW, &mut dice), Fate::Now);
    }

    #[test]
    fn what_is_under_way_is_bounded() {
        let (mut wire, mut dice) = (Wire::default(), Dice::new(4));
        let packet = vec![0; 1 << 20];
        let fault = Fault::lossy(0, 1_000, 0);
        let taken = (0..100).filter(|_| wire.take(&fault, &packet, NOW, &mut dice) == Fate::Later).count();
        assert_eq!(taken, UNDER_WAY_BYTES_MAX >> 20);
        assert_eq!((wire.clear(), wire.bytes), (64, 0));
    }
}
