//! tx-gen
