//! tana-bench
