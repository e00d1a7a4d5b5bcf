//! tana-net
