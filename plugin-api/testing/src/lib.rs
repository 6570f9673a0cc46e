#![doc = include_str!("../README.md")]
#![warn(missing_docs)]

mod bench;
mod border;
mod event;
mod portal;
mod run;
mod web;

pub use bench::{Bench, Line, Request, Sent};
pub use event::{Event, PACKAGE_ID, RESOURCE_ID, package_changed, package_new, resource_changed};
pub use portal::Portal;
pub use web::Page;
