//! tana-ingest
