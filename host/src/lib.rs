#![doc = include_str!("../README.md")]

// The modules stand here top to bottom; each uses only what stands below it, and a test holds it. `ARCHITECTURE.md`
// draws the map and walks one message through it.

// The way in.
pub mod command;
pub mod demo;
pub mod app;

// One message's way.
pub mod dispatch;
mod pool;
mod process;
mod desk;
mod execute;
mod admit;
mod task;
mod lanes;
pub mod subscription;
pub mod gate;

// What was asked for.
pub mod log;
pub mod cli;
pub mod config;

// Edges: may wait, may fail.
pub mod source;
pub mod services;
pub mod catalog;

// What is remembered and told.
pub mod observe;
pub mod store;
pub mod journal;
mod database;

// Decisions: no clock, no I/O.
pub mod retry;
pub mod guard;
pub mod notification;

// Plain values.
pub mod delivery;
pub mod diagnostic;
pub mod exit;
pub mod seed;

pub use app::App;
pub use cli::configure;
pub use config::Config;
