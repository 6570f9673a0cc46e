//! The plugins found, and why some are not usable.
pub mod load;
