//! A few kills of a real validator process, as a test that each change runs; `scripts/soak crash` runs a hundred.

use std::path::PathBuf;

use tana_bench::crash::{CrashPlan, crash};

#[test]
fn a_killed_validator_keeps_what_it_reported() {
    let folder = tempfile::tempdir().unwrap();
    let program = PathBuf::from(env!("CARGO_BIN_EXE_crash"));
    let plan = CrashPlan {
        kills: 5,
        accounts: 256,
        delay_ms: (50, 700),
        samples: 40,
        full_every: 5,
        ..CrashPlan::new(program, folder.path().to_owned(), 11)
    };
    let found = crash(&plan, &mut |_| {}).unwrap_or_else(|failure| panic!("{failure}"));
    assert_eq!((found.kills, found.full_checks), (5, 1));
    assert!(found.kills_in_recovery < 5 && found.applied_reports > 0 && found.samples > 0, "{found:?}");
    assert!(found.applied >= found.applied_reports, "{found:?}");
}
