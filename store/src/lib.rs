//! tana-store
