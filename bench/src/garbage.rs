//! An honest client beside one that sends nothing but bad signatures from another address.

use std::net::{IpAddr, Ipv4Addr};

use tx_gen::{LoadPlan, Shares};

use crate::chain::Chain;
use crate::child::Validator;
use crate::end_to_end::{SignedFlood, order};

/// Bad signatures per second.
const GARBAGE_RATE: u64 = 100_000;
/// Seconds before anything is measured.
const WARM_UP_SECONDS: u64 = 3;

/// What the honest client gets applied per second while the other one sends 100,000 bad signatures a second from 127.0.0.2.
pub fn honest_tps(chain: &Chain, plan: LoadPlan, seconds: u64) -> Result<f64, String> {
    let validator = Validator::start(&chain.config_file(), chain.validator).map_err(|error| error.to_string())?;
    let honest = order(chain, &validator, plan.clone(), seconds, WARM_UP_SECONDS);
    let all = seconds + WARM_UP_SECONDS + 1;
    let bad_plan = LoadPlan {
        seed: "garbage".to_owned(),
        count: GARBAGE_RATE * all,
        rate: Some(GARBAGE_RATE),
        shares: Shares { bad_signatures: 1.0, ..Shares::default() },
        ..plan
    };
    let mut bad = order(chain, &validator, bad_plan, all, 0);
    bad.rate = Some(GARBAGE_RATE);
    bad.reconnects = 100_000;
    bad.bind = Some(IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2)));
    let mut honest = SignedFlood::sign(&chain.folder, "honest", &honest)?;
    let mut bad = SignedFlood::sign(&chain.folder, "garbage", &bad)?;
    bad.go()?;
    honest.go()?;
    let report = honest.report()?;
    // The other one may have been shut out for good, which is what it deserves; its report does not matter.
    drop(bad);
    validator.stop().map_err(|error| error.to_string())?;
    match report.failure {
        Some(failure) => Err(format!("the honest flood failed: {}", failure.message)),
        None => Ok(report.per_second.applied),
    }
}
