//! Snapshots that are false.
