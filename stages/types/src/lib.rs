//! tana-types
