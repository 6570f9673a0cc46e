//! The actor: does what the payload tells it, so that a scenario is one message.
#![allow(unsafe_code, reason = "the symbols that `export_worker!` exports, and what a broken plugin does")]

mod actor;

/// What the actor is called, here and in its journal.
const NAME: &str = "actor";

ckan_worker_plugin::export_worker!(actor::Actor, name: NAME);
