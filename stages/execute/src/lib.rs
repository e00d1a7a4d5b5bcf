//! tana-execute
