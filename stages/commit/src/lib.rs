//! tana-commit
