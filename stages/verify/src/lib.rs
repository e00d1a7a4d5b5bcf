//! tana-verify
