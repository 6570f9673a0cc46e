//! The host: takes notifications from a queue, runs workers on them, settles them.
//!
//! The modules stand here top to bottom; each uses only what stands below it. `ARCHITECTURE.md` draws the map and
//! walks one message through it.

pub mod cli;

pub mod config;

pub mod source;

pub mod catalog;
pub mod services;

pub mod observe;

pub mod notification;
pub mod retry;

pub mod delivery;
pub mod diagnostic;
pub mod exit;

pub use cli::configure;
pub use config::Config;
