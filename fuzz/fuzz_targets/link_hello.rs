//! A hello of a link: what decodes encodes to the same bytes, and everything else is refused.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tana_net::link::frame::{HELLO_BYTES, Hello};

fuzz_target!(|bytes: &[u8]| {
    if let Ok(hello) = Hello::decode(bytes) {
        assert_eq!(bytes.len(), HELLO_BYTES);
        assert_eq!(&hello.encode()[..], bytes);
    }
});
