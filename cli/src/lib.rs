//! Everything that a person does with a Tana chain, as one command: `tana`.
//!
//! [`arguments`] is the tree of commands; [`commands`] holds one module for each; [`home`] says where files lie, [`keys`] reads and
//! writes key files, [`genesis_text`] and [`node_text`] write the two commented configuration files, [`node`] talks to a validator,
//! [`output`] prints for people or as JSON, [`memory`] gives back what a start needed, and [`error`] says what went wrong, what to change, and which exit code that is.
//!
//! The binary is thin; this library has it all, so that other tools (benchmarks, devnets) make homes and keys the same way.

pub mod arguments;
pub mod commands;
pub mod error;
pub mod genesis_text;
pub mod home;
pub mod http;
pub mod keys;
pub mod memory;
pub mod node;
pub mod node_text;
pub mod output;
pub mod progress;
pub mod signals;
pub mod time;
