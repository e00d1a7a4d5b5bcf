//! Bytes as the manifest of a snapshot: what decodes has one encoding, and checking it ends in an answer.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use tana_engine::sync::manifest::StateManifest;
use tana_types::genesis::Genesis;

const GENESIS: &str = r#"
chain = "world"
timestamp_ms = 1730592000000
[rules]
epoch_blocks = 8
[sovereign]
key = "ed25519_d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"
[[currency]]
code = "USD"
decimals = 2
type = "fiat"
[[validator]]
key = "ed25519_3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c"
address = "127.0.0.1:9000"
"#;

static CHAIN: LazyLock<Genesis> = LazyLock::new(|| Genesis::parse(GENESIS).unwrap());

fuzz_target!(|bytes: &[u8]| {
    let Ok(manifest) = StateManifest::decode(bytes) else { return };
    assert_eq!(manifest.encode(), bytes);
    let height = manifest.header.height;
    if let Ok(checked) = manifest.check(&CHAIN) {
        assert!(height.is_multiple_of(8) && checked.progress.height == height);
    }
});
