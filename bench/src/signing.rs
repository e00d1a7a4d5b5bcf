//! Signing alone: the load generator's way against ed25519-dalek's own, on one core.

use std::time::Duration;

use ed25519_dalek::{Signer, SigningKey};
use tana_types::bulk::bulk_key;
use tana_types::genesis::Genesis;
use tx_gen::{LoadPlan, sign_load};

use crate::step::{cores, pin, rate};

/// Messages of a transfer's length.
const MESSAGE_BYTES: usize = 164;

/// ed25519-dalek's own signatures per second on one core, with keys ready.
pub fn library_one_core_tps(duration: Duration) -> f64 {
    let keys: Vec<SigningKey> = (0..64).map(|number| bulk_key("signing", number)).collect();
    let message = [7; MESSAGE_BYTES];
    std::thread::scope(|scope| {
        let measure = || {
            pin(cores()[0]);
            rate(duration, || {
                for key in &keys {
                    std::hint::black_box(key.sign(&message));
                }
                keys.len() as u64
            })
        };
        scope.spawn(measure).join().unwrap_or(0.0)
    })
}

/// The load generator's signed transactions per second and core, keys and bytes included.
pub fn tx_gen_per_core_tps(genesis: &Genesis, count: u64) -> Result<f64, String> {
    let accounts = 10_000.min(genesis.bulk.as_ref().map_or(0, |bulk| bulk.count));
    let plan = LoadPlan { count, accounts, seed: "signing".to_owned(), ..LoadPlan::default() };
    let mut signing = None;
    let mut signed = |progress: tx_gen::Progress| {
        if progress.stage == tx_gen::Stage::Signing {
            signing.get_or_insert_with(std::time::Instant::now);
        }
    };
    let load = sign_load(genesis, &plan, &mut signed).map_err(|error| error.to_string())?;
    let seconds = signing.map_or(f64::INFINITY, |start| start.elapsed().as_secs_f64());
    Ok(load.count() as f64 / seconds / cores().len() as f64)
}
