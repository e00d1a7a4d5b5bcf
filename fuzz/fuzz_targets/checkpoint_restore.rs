//! A checkpoint after any damage: restoring ends in an answer, and a restored state holds exactly the records that were given.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use tana_accounts::directory;
use tana_execute::State;
use tana_fuzz::{Input, edit};
use tana_types::genesis::Genesis;

const GENESIS: &str = r#"
chain = "fuzz"
timestamp_ms = 1730592000000
[sovereign]
key = "ed25519_d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"
username = "@sovereign"
[[sovereign.allocation]]
currency = "USD"
amount = "1000000000.00"
[[currency]]
code = "USD"
decimals = 2
type = "fiat"
[[currency]]
code = "BTC"
decimals = 8
type = "crypto"
[[validator]]
key = "ed25519_3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c"
address = "127.0.0.1:9000"
[bulk]
seed = "fuzz"
count = 60
currency = "BTC"
amount = "1.00000000"
"#;

/// A checkpoint: meta bytes, pages by number, overflows by account.
#[derive(Clone)]
struct Saved {
    meta: Vec<u8>,
    pages: Vec<(u32, Vec<u8>)>,
    overflows: Vec<(u32, Vec<u8>)>,
}

fn save(state: &mut State) -> Saved {
    let head = state.begin_checkpoint().expect("none is under way");
    let mut pages = Vec::new();
    while !state.checkpoint_step(8, &mut |page, bytes| pages.push((page, bytes.to_vec()))) {}
    let overflows = head.overflows.into_iter().filter_map(|(index, bytes)| bytes.map(|bytes| (index, bytes)));
    Saved { meta: head.meta, pages, overflows: overflows.collect() }
}

static GOOD: LazyLock<(Genesis, Saved)> = LazyLock::new(|| {
    let genesis = Genesis::parse(GENESIS).expect("a genesis");
    let mut state = State::from_genesis(&genesis, directory(64).0, &|_, _| {}).expect("a state");
    let saved = save(&mut state);
    (genesis, saved)
});

fuzz_target!(|bytes: &[u8]| {
    let mut input = Input::new(bytes);
    let (genesis, good) = &*GOOD;
    let mut saved = good.clone();
    let mut edited = false;
    if input.u8() & 1 == 1 {
        // New meta bytes behind version and genesis hash.
        saved.meta.truncate(34);
        let length = usize::from(input.u16());
        saved.meta.extend_from_slice(input.bytes(length));
        edited = saved.meta != good.meta;
    } else {
        edited |= edit(&mut saved.meta, &mut input);
    }
    for (_, page) in &mut saved.pages {
        edited |= edit(page, &mut input);
    }
    for (_, overflow) in &mut saved.overflows {
        edited |= edit(overflow, &mut input);
    }
    let restored = State::restore(genesis, &saved.meta, saved.pages.clone(), saved.overflows.clone(), directory(64).0);
    match restored {
        Ok(state) => {
            let records: Vec<u8> = (0..).map_while(|index| state.record(index)).flatten().collect();
            assert_eq!(records, saved.pages.iter().flat_map(|page| page.1.clone()).collect::<Vec<u8>>());
            for (index, overflow) in &saved.overflows {
                assert_eq!(state.overflow(*index), Some(&overflow[..]));
            }
        }
        Err(error) => assert!(edited, "a sound checkpoint was refused: {error}"),
    }
});
