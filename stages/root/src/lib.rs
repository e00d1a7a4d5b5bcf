//! tana-root
