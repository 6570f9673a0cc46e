//! What the commands do.

pub mod plugins;
