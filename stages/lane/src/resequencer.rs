//! Puts numbered items back into order behind several workers.
//!
//! Items are numbered without a gap from 0. A ring holds those that came early; its length bounds how far apart the workers may be,
//! and callers size it to the number of items that exist at all, so that it is never too short.

/// See the module's text.
pub struct Resequencer<T> {
    ring: Vec<Option<T>>,
    next: u64,
    waiting: usize,
}

impl<T> Resequencer<T> {
    /// A resequencer for at most `items_max` items in flight.
    pub fn new(items_max: usize) -> Self {
        Self { ring: (0..items_max.max(1)).map(|_| None).collect(), next: 0, waiting: 0 }
    }

    /// Takes the item with this number. Gives it back if its number is not within the ring or was used before, which a caller that numbers
    /// without a gap and keeps to `items_max` never sees.
    pub fn put(&mut self, number: u64, item: T) -> Result<(), T> {
        let length = self.ring.len() as u64;
        let slot = &mut self.ring[(number % length) as usize];
        if number < self.next || number - self.next >= length || slot.is_some() {
            return Err(item);
        }
        *slot = Some(item);
        self.waiting += 1;
        Ok(())
    }

    /// The next item in order, if it has come.
    pub fn take(&mut self) -> Option<T> {
        let slot = (self.next % self.ring.len() as u64) as usize;
        let item = self.ring[slot].take()?;
        self.next += 1;
        self.waiting -= 1;
        Some(item)
    }

    /// Items that wait for an earlier one or to be taken.
    pub fn waiting(&self) -> usize {
        self.waiting
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_does_not_fit_is_given_back() {
        let mut ring = Resequencer::new(2);
        assert_eq!(ring.put(2, 'c'), Err('c'));
        assert_eq!(ring.put(1, 'b'), Ok(()));
        assert_eq!(ring.put(1, 'x'), Err('x'));
        assert_eq!(ring.take(), None);
        assert_eq!(ring.put(0, 'a'), Ok(()));
        assert_eq!((ring.take(), ring.take(), ring.take()), (Some('a'), Some('b'), None));
        assert_eq!(ring.put(0, 'y'), Err('y'));
    }

    proptest! {
        #[test]
        fn any_order_within_the_ring_comes_out_in_order(swaps in proptest::collection::vec(0usize..8, 0..200)) {
            let mut numbers: Vec<u64> = (0..200).collect();
            for (position, swap) in swaps.into_iter().enumerate() {
                numbers.swap(position & !7, (position & !7) + swap);
            }
            let mut ring = Resequencer::new(16);
            let mut out = Vec::new();
            for number in numbers {
                prop_assert!(ring.put(number, number).is_ok());
                out.extend(std::iter::from_fn(|| ring.take()));
            }
            prop_assert_eq!(out, (0..200).collect::<Vec<_>>());
            prop_assert_eq!(ring.waiting(), 0);
        }
    }
}
