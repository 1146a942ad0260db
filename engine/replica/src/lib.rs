//! One device's mind, without input or output, clock or entropy.

pub mod document;
