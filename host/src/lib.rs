//! The host: takes notifications from a queue, runs workers on them, settles them.
//!
//! The modules stand here top to bottom; each uses only what stands below it. `ARCHITECTURE.md` draws the map and
//! walks one message through it.

pub mod demo;

pub mod dispatch;
mod pool;

mod process;

mod desk;
mod task;

mod execute;
mod lanes;

pub mod subscription;

pub mod config;

pub mod source;

pub mod catalog;
pub mod services;

pub mod observe;

pub mod notification;
pub mod retry;

pub mod delivery;
pub mod exit;
