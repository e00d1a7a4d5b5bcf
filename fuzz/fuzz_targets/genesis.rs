//! Text as a genesis file: what is taken keeps every rule, and written out and read again it is the same chain.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tana_types::genesis::Genesis;

fuzz_target!(|text: &str| {
    let Ok(genesis) = Genesis::parse(text) else { return };
    let Ok(written) = genesis.to_toml() else { return };
    let again = Genesis::parse(&written).expect("what was taken is taken again");
    assert_eq!(again.hash(), genesis.hash());
});
