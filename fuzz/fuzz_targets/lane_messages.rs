//! Bytes as what validators send each other about lanes: marks, requests for batches and their answers. What decodes has one encoding and keeps
//! to its bounds, and a lane book takes any marks without harm.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tana_lane::{FETCH_DIGESTS_MAX, FETCH_PREFIX_BYTES, Fetch, LaneBook, LaneLimits, MARKS_MAX, Marks};

fuzz_target!(|bytes: &[u8]| {
    if let Ok(marks) = Marks::decode(bytes) {
        assert_eq!(marks.encode(), bytes);
        assert!(marks.entries.len() <= MARKS_MAX);
        assert!(marks.entries.is_sorted_by(|left, right| left.author < right.author));
        let mut members = vec![[1; 32], [2; 32]];
        members.extend(marks.entries.iter().take(8).map(|mark| mark.author).filter(|author| author[0] > 2));
        let mut book = LaneBook::new([1; 32], LaneLimits::default());
        book.set_members(&members, &[]);
        book.on_marks(&[2; 32], &marks);
        for mark in &marks.entries {
            assert_eq!(book.count_holding(&mark.author, mark.sequence), 0, "nothing is held here to compare it with");
        }
    }
    match Fetch::decode(bytes) {
        Ok(Fetch::Request(request)) => {
            assert_eq!(request.encode(), bytes);
            assert!((1..=FETCH_DIGESTS_MAX).contains(&request.wanted.len()));
        }
        Ok(Fetch::Batch(sealed)) => assert_eq!(sealed, &bytes[FETCH_PREFIX_BYTES..]),
        Ok(message) => assert_eq!(message.encode(), bytes),
        Err(_) => {}
    }
});
