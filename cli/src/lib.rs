//! tana-cli
