//! A share of points for each address: a bucket that refills with time.
//!
//! Addresses are told apart as the transaction server does it (IPv6 by /64). The table is bounded: an address whose bucket is full again is
//! forgotten, and when all that are kept still owe something, a new one is refused.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tana_net::score::source_key;

/// Addresses that are remembered, about 50 bytes each.
const ADDRESSES_MAX: usize = 4_096;

/// A bucket as of a moment.
#[derive(Debug, Clone, Copy)]
struct Bucket {
    points: f64,
    at: Instant,
}

/// See the module's text.
#[derive(Debug)]
pub struct Shares {
    per_second: f64,
    most: f64,
    buckets: Mutex<HashMap<IpAddr, Bucket>>,
}

impl Shares {
    /// `per_second` points for each address, `most` at once.
    pub fn new(per_second: u32, most: u32) -> Self {
        Self { per_second: f64::from(per_second.max(1)), most: f64::from(most.max(1)), buckets: Mutex::default() }
    }

    /// Takes `points` of `ip`'s share at `now`.
    ///
    /// # Errors
    /// How long to wait when there are not so many left; nothing is taken then.
    pub fn take(&self, ip: IpAddr, points: u32, now: Instant) -> Result<(), Duration> {
        let mut buckets = self.buckets.lock();
        let refilled = |bucket: &Bucket| {
            let seconds = now.saturating_duration_since(bucket.at).as_secs_f64();
            (bucket.points + seconds * self.per_second).min(self.most)
        };
        let key = source_key(ip);
        if buckets.len() >= ADDRESSES_MAX && !buckets.contains_key(&key) {
            buckets.retain(|_, bucket| refilled(bucket) < self.most);
            if buckets.len() >= ADDRESSES_MAX {
                return Err(Duration::from_secs(1));
            }
        }
        let have = buckets.get(&key).map_or(self.most, refilled);
        let left = have - f64::from(points);
        if left < 0.0 {
            return Err(Duration::from_secs_f64(-left / self.per_second));
        }
        buckets.insert(key, Bucket { points: left, at: now });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_share_is_used_up_and_comes_back_and_is_everybodys_own() {
        let shares = Shares::new(10, 20);
        let now = Instant::now();
        assert_eq!(shares.take(ip("192.0.2.1"), 15, now), Ok(()));
        assert_eq!(shares.take(ip("192.0.2.1"), 10, now), Err(Duration::from_millis(500)));
        assert_eq!(shares.take(ip("192.0.2.2"), 20, now), Ok(()));
        assert_eq!(shares.take(ip("192.0.2.1"), 10, now + Duration::from_millis(500)), Ok(()));
        assert_eq!(shares.take(ip("2001:db8::1"), 20, now), Ok(()));
        assert!(shares.take(ip("2001:db8::2"), 1, now).is_err(), "one /64 is one address");
        assert_eq!(shares.take(ip("192.0.2.1"), 20, now + Duration::from_secs(60)), Ok(()));
    }

    #[test]
    fn the_table_is_bounded() {
        let shares = Shares::new(1, 10);
        let now = Instant::now();
        for number in 0..ADDRESSES_MAX as u32 {
            assert_eq!(shares.take(IpAddr::V4(number.into()), 1, now), Ok(()));
        }
        assert!(shares.take(ip("192.0.2.1"), 1, now).is_err());
        assert_eq!(shares.take(ip("192.0.2.1"), 1, now + Duration::from_secs(1)), Ok(()));
        assert!(shares.buckets.lock().len() <= ADDRESSES_MAX);
    }
}
