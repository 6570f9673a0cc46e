//! The actor a third time, for tests with three workers.
#![allow(unsafe_code, reason = "the symbols that `export_worker!` exports, and what a broken plugin does")]

#[path = "../../actor/src/actor.rs"]
mod actor;

/// What the actor is called, here and in its journal.
const NAME: &str = "actor3";

ckan_worker_plugin::export_worker!(actor::Actor, name: NAME);
