//! tana-accounts
