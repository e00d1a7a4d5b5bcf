//! How many requests one address may make: a bucket of tokens for each, in a table that cannot grow.
//!
//! A bucket is one number, the moment at which it is full again (the generic cell rate algorithm): a request moves it on by one interval and is
//! refused when it would then lie further ahead than the burst. A bucket that is full is as good as none, so those are what makes room.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::num::NonZeroU32;
use std::time::Duration;

use parking_lot::Mutex;

/// Addresses with a bucket of their own; those that come when all are in use share one. About 50 bytes each.
pub const ADDRESSES_MAX: usize = 16_384;
/// The least time between two searches for full buckets, so that a flood of addresses does not pay for one with each request.
const SWEEP_INTERVAL: Duration = Duration::from_secs(1);

/// How many requests an address may make.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// In the long run, a second.
    pub per_second: NonZeroU32,
    /// At once, after a pause.
    pub burst: NonZeroU32,
}

impl Default for Rate {
    /// 200 a second, 1,000 at once: a page with several people behind one address never meets it.
    fn default() -> Self {
        const PER_SECOND: NonZeroU32 = NonZeroU32::new(200).expect("not zero");
        const BURST: NonZeroU32 = NonZeroU32::new(1_000).expect("not zero");
        Self { per_second: PER_SECOND, burst: BURST }
    }
}

/// The buckets of all addresses.
#[derive(Debug)]
pub struct Limiter {
    /// What a request costs, in ns.
    interval: u64,
    /// How far ahead a bucket may be, in ns.
    depth: u64,
    addresses_max: usize,
    table: Mutex<Table>,
}

#[derive(Debug, Default)]
struct Table {
    /// When each bucket is full again, in ns since the start.
    full_at: HashMap<IpAddr, u64>,
    /// The bucket of all that have none.
    shared: u64,
    /// Before this there is no other sweep, in ns since the start.
    sweep_from: u64,
}

impl Limiter {
    /// Full buckets, for [`ADDRESSES_MAX`] addresses.
    pub fn new(rate: Rate) -> Self {
        Self::with_addresses(rate, ADDRESSES_MAX)
    }

    /// The same with another number of addresses.
    pub fn with_addresses(rate: Rate, addresses_max: usize) -> Self {
        let interval = (1_000_000_000 / u64::from(rate.per_second.get())).max(1);
        let depth = interval * u64::from(rate.burst.get());
        Self { interval, depth, addresses_max, table: Mutex::default() }
    }

    /// Takes a token from the bucket of `peer`. `now` counts from any fixed moment.
    ///
    /// # Errors
    /// How long to wait for the next token, when there is none.
    pub fn take(&self, peer: Option<IpAddr>, now: Duration) -> Result<(), Duration> {
        let now = u64::try_from(now.as_nanos()).unwrap_or(u64::MAX);
        let key = network(peer.unwrap_or(IpAddr::V6(Ipv6Addr::UNSPECIFIED)));
        let mut table = self.table.lock();
        let full_at = table.bucket(key, now, self.addresses_max);
        let after = (*full_at).max(now).saturating_add(self.interval);
        if after - now > self.depth {
            return Err(Duration::from_nanos(after - now - self.depth));
        }
        *full_at = after;
        Ok(())
    }

    /// Addresses that have a bucket now.
    pub fn addresses(&self) -> usize {
        self.table.lock().full_at.len()
    }
}

impl Table {
    fn bucket(&mut self, key: IpAddr, now: u64, addresses_max: usize) -> &mut u64 {
        if self.full_at.len() >= addresses_max && !self.full_at.contains_key(&key) {
            if now >= self.sweep_from {
                self.full_at.retain(|_, full_at| *full_at > now);
                let interval = u64::try_from(SWEEP_INTERVAL.as_nanos()).unwrap_or(u64::MAX);
                self.sweep_from = now.saturating_add(interval);
            }
            if self.full_at.len() >= addresses_max {
                return &mut self.shared;
            }
        }
        self.full_at.entry(key).or_insert(now)
    }
}

/// What counts as one address: of IPv6 the first 64 bits, because whoever has one of those addresses has all; an IPv4 address written as
/// IPv6 is the IPv4 address.
pub fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() >> 64 << 64)),
        address => address,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn rate(per_second: u32, burst: u32) -> Rate {
        Rate { per_second: per_second.try_into().unwrap(), burst: burst.try_into().unwrap() }
    }

    fn at(text: &str) -> Option<IpAddr> {
        Some(text.parse().unwrap())
    }

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn a_burst_passes_then_one_by_one() {
        let limiter = Limiter::new(rate(10, 5));
        for _ in 0..5 {
            assert_eq!(limiter.take(at("10.0.0.1"), ms(0)), Ok(()));
        }
        assert_eq!(limiter.take(at("10.0.0.1"), ms(0)), Err(ms(100)));
        assert_eq!(limiter.take(at("10.0.0.1"), ms(60)), Err(ms(40)), "a refusal costs nothing");
        assert_eq!(limiter.take(at("10.0.0.1"), ms(100)), Ok(()));
        assert_eq!(limiter.take(at("10.0.0.1"), ms(100)), Err(ms(100)));
        assert_eq!(limiter.take(at("10.0.0.2"), ms(100)), Ok(()), "another address has its own");
        // After a long pause there is one burst again, not more.
        let passed = (0..20).filter(|_| limiter.take(at("10.0.0.1"), ms(60_000)).is_ok()).count();
        assert_eq!(passed, 5);
    }

    #[test]
    fn one_network_of_ipv6_is_one_address() {
        let limiter = Limiter::new(rate(1, 1));
        assert!(limiter.take(at("2001:db8::1"), ms(0)).is_ok());
        assert!(limiter.take(at("2001:db8::ffff:2"), ms(0)).is_err());
        assert!(limiter.take(at("2001:db8:0:1::1"), ms(0)).is_ok());
        assert!(limiter.take(at("10.0.0.1"), ms(0)).is_ok());
        assert!(limiter.take(at("::ffff:10.0.0.1"), ms(0)).is_err());
    }

    #[test]
    fn the_table_does_not_grow() {
        let limiter = Limiter::with_addresses(rate(1, 1), 100);
        let addresses: Vec<_> = (0..1_000).map(|n: u32| Some(IpAddr::from(n.to_be_bytes()))).collect();
        let passed = addresses.iter().filter(|address| limiter.take(**address, ms(0)).is_ok()).count();
        assert_eq!((passed, limiter.addresses()), (101, 100), "a hundred with their own bucket, the others share one");
        // Those that have one keep it; when they are full again they make room.
        assert!(limiter.take(addresses[0], ms(500)).is_err());
        assert!(limiter.take(addresses[500], ms(1_000)).is_ok());
        assert!(limiter.take(addresses[501], ms(1_000)).is_ok());
        assert_eq!(limiter.addresses(), 2);
    }
}
