//! tana-engine
