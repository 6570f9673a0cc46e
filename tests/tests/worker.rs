//! The worker from outside: the real binary, real plugin files, a real RabbitMQ.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

#[path = "worker/broker.rs"]
mod broker;
#[path = "worker/command_line.rs"]
mod command_line;
#[path = "worker/done.rs"]
mod done;
#[path = "worker/files.rs"]
mod files;
#[path = "worker/hurt.rs"]
mod hurt;
#[path = "worker/lanes.rs"]
mod lanes;
#[path = "worker/letters.rs"]
mod letters;
#[path = "worker/malformed.rs"]
mod malformed;
#[path = "worker/stage.rs"]
mod stage;
#[path = "worker/stop.rs"]
mod stop;
#[path = "worker/topology.rs"]
mod topology;
