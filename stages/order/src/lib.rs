//! tana-order
