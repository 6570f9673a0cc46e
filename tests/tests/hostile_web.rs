//! What the web, a portal and a queue can do to the binary that archives: end to end, on the embedded queue.
//!
//! Names that begin with `s` and a number are rows of the table of attacks; those that are about one download alone
//! are tested where downloads are made.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "hostile_web/bomb.rs"]
mod bomb;
#[path = "hostile_web/canary.rs"]
mod canary;
#[path = "hostile_web/disk.rs"]
mod disk;
#[path = "hostile_web/floods.rs"]
mod floods;
#[path = "hostile_web/lab.rs"]
mod lab;
#[path = "hostile_web/neighbours.rs"]
mod neighbours;
#[path = "hostile_web/notifications.rs"]
mod notifications;
#[path = "hostile_web/trail.rs"]
mod trail;
#[path = "hostile_web/web.rs"]
mod web;
