//! The data plane's threads and clocks: the pipeline that moves batches from stage to stage, and the node around it.

pub mod config;
pub mod keyfile;
