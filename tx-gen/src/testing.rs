//! What several tests need: a genesis with bulk accounts and a look into a load.

use tana_types::genesis::Genesis;

use crate::load::Load;

/// A genesis with this many bulk accounts.
pub(crate) fn genesis(accounts: u32) -> Genesis {
    let key = "ed25519_d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a";
    let text = format!(
        r#"
        chain = "load-test"
        timestamp_ms = 1730592000000
        [sovereign]
        key = "{key}"
        [[currency]]
        code = "USD"
        decimals = 2
        type = "fiat"
        verified = true
        name = "US Dollar"
        symbol = "$"
        [[validator]]
        key = "{key}"
        address = "127.0.0.1:9000"
        [bulk]
        seed = "load-test"
        count = {accounts}
        currency = "USD"
        amount = "1000.00"
        "#
    );
    Genesis::parse(&text).unwrap()
}

/// All transactions by connection and frame.
pub(crate) fn transactions(load: &Load) -> Vec<Vec<Vec<Vec<u8>>>> {
    load.connections
        .iter()
        .map(|connection| connection.chunks.iter().flat_map(|chunk| crate::testing::frames(chunk)).collect())
        .collect()
}

fn frames(mut chunk: &[u8]) -> Vec<Vec<Vec<u8>>> {
    let mut frames = Vec::new();
    while let Some((length, rest)) = chunk.split_first_chunk::<4>() {
        let (mut payload, rest) = rest.split_at(u32::from_le_bytes(*length) as usize);
        let mut frame = Vec::new();
        while !payload.is_empty() {
            let transaction = tana_types::transaction::Transaction::first_of(payload).unwrap();
            frame.push(transaction.bytes().to_vec());
            payload = &payload[transaction.bytes().len()..];
        }
        frames.push(frame);
        chunk = rest;
    }
    frames
}
