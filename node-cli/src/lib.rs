//! The program sheaf: see everything, force a resync.
