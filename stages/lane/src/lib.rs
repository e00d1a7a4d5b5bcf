//! tana-lane
