//! tana-hash
