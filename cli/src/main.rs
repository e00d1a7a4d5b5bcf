//! The `tana` binary: reads the command line, runs one command, and turns its end into an exit code.

use std::process::ExitCode;

use clap::Parser;
use tana_cli::arguments::Tana;
use tana_cli::output::{JsonTarget, Output};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let arguments = Tana::parse();
    let output = Output::new(arguments.shared.json == Some(JsonTarget::Standard));
    match tana_cli::commands::run(arguments, &output) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            output.error(&error);
            ExitCode::from(error.exit_code())
        }
    }
}
