//! One module for each command, or for each family of commands that differ by one question.

pub mod devnet;
pub mod everyday;
pub mod evidence;
pub mod init;
pub mod join;
pub mod keys;
pub mod mesh;
pub mod proof;
pub mod query;
pub mod sidecar;
pub mod start;
pub mod submit;
pub mod testnet;
pub mod token;
pub mod validator;
pub mod verify_log;

use std::io::Write as _;

use clap::CommandFactory;

use crate::arguments::{Command, Tana};
use crate::error::CliError;
use crate::home::Home;
use crate::output::Output;

/// Runs the command that was asked for.
///
/// # Errors
/// [`CliError`], whose exit code the process ends with.
pub fn run(arguments: Tana, output: &Output) -> Result<(), CliError> {
    let home = || Home::resolve(arguments.shared.home.as_deref());
    match arguments.command {
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Tana::command(), "tana", &mut script);
            match std::io::stdout().write_all(&script) {
                // Whoever reads it has seen enough.
                Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
                written => {
                    written.map_err(|source| CliError::System { action: "write to the standard output", source })
                }
            }
        }
        Command::Init(choices) => init::run(&choices, &home()?, output),
        Command::Validator(choices) => validator::run(&choices, &home()?, output),
        Command::Devnet(choices) => devnet::run(&choices, home, output),
        Command::Testnet(choices) => testnet::run(&choices, output),
        Command::Keys(command) => keys::run(&command, &home()?, output),
        Command::Submit(choices) => submit::run(&choices, &home()?, output),
        Command::Start(choices) => start::run(&choices, &home()?, output),
        Command::Stop(choices) => start::stop::run(&choices, &home()?, output),
        Command::Flood(choices) => start::flood::run(&choices, &home()?, output),
        Command::Sidecar(choices) => sidecar::run(&choices, output),
        Command::Mesh(command) => mesh::run(&command, &home()?, output),
        Command::Balance(choices) => everyday::balance(&choices, &home()?, output),
        Command::Transfer(choices) => everyday::transfer(choices, &home()?, output),
        Command::New(command) => everyday::new(command, &home()?, output),
        Command::Account { name, node } => query::account(&name, &node, &home()?, output),
        Command::Block { height, node } => query::block(height, &node, &home()?, output),
        Command::Transaction { id, node } => query::transaction(&id, &node, &home()?, output),
        Command::Pending { node } => query::pending(&node, &home()?, output),
        Command::Currencies { node } => query::currencies(&node, &home()?, output),
        Command::Status { node } if node.node.is_none() && start::status::is_meant(&home()?) => {
            start::status::run(&home()?, output)
        }
        Command::Status { node } => query::status(&node, &home()?, output),
        Command::Metrics { node } => query::metrics(&node, &home()?, output),
        Command::Token(command) => token::run(&command, &home()?, output),
        Command::Proof(command) => proof::run(&command, home, output),
        Command::Evidence(choices) => evidence::run(&choices, home, output),
        Command::VerifyLog(choices) => verify_log::run(&choices, &home()?, output),
    }
}
