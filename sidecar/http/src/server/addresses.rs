//! How many connections each address has, so that one alone cannot take all that there are.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::OwnedSemaphorePermit;

use crate::limits::network;

/// Open connections by address (of IPv6: by /64). It has an entry for each address that has a connection, so it is bounded as they are.
#[derive(Debug)]
pub(super) struct Addresses {
    max: u32,
    open: Mutex<HashMap<IpAddr, u32>>,
}

impl Addresses {
    /// At most `max` for each.
    pub(super) fn new(max: u32) -> Self {
        Self { max, open: Mutex::default() }
    }

    /// Counts a connection of `address`, until the place is dropped. Nothing when it has as many as it may.
    pub(super) fn take(self: &Arc<Self>, address: IpAddr, permit: OwnedSemaphorePermit) -> Option<Place> {
        let address = network(address);
        let mut open = self.open.lock();
        let count = open.entry(address).or_default();
        if *count >= self.max {
            // Whoever may have none at all leaves no entry behind.
            if *count == 0 {
                open.remove(&address);
            }
            return None;
        }
        *count += 1;
        Some(Place { addresses: self.clone(), address, _permit: permit })
    }
}

/// The place of one connection among all and among those of its address.
#[derive(Debug)]
pub(super) struct Place {
    addresses: Arc<Addresses>,
    address: IpAddr,
    _permit: OwnedSemaphorePermit,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut open = self.addresses.open.lock();
        if let Some(count) = open.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                open.remove(&self.address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::Semaphore;

    use super::*;

    #[test]
    fn one_address_does_not_take_what_others_need() {
        let permits = Arc::new(Semaphore::new(8));
        let addresses = Arc::new(Addresses::new(2));
        let take = |text: &str| addresses.take(text.parse().unwrap(), permits.clone().try_acquire_owned().unwrap());
        let (first, _second) = (take("10.0.0.1").unwrap(), take("::ffff:10.0.0.1").unwrap());
        assert!(take("10.0.0.1").is_none());
        assert_eq!(permits.available_permits(), 6, "who is refused takes no permit");
        let _other = take("10.0.0.2").unwrap();
        drop(first);
        let _third = take("10.0.0.1").unwrap();
        let (_a, _b) = (take("2001:db8::1").unwrap(), take("2001:db8::2").unwrap());
        assert!(take("2001:db8::3").is_none(), "one network of IPv6 is one address");
    }

    #[test]
    fn who_is_gone_leaves_nothing_behind() {
        let permits = Arc::new(Semaphore::new(1));
        let addresses = Arc::new(Addresses::new(1));
        let address = "10.0.0.1".parse().unwrap();
        drop(addresses.take(address, permits.clone().try_acquire_owned().unwrap()).unwrap());
        assert!(addresses.open.lock().is_empty());
        let none = Arc::new(Addresses::new(0));
        assert!(none.take(address, permits.clone().try_acquire_owned().unwrap()).is_none());
        assert!(none.open.lock().is_empty());
    }
}
