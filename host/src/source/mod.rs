//! A queue we consume.

pub mod settings;

pub use settings::Settings;
