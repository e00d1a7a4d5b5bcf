//! Tests of state sync.
