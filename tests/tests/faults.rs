//! Nothing is lost: what the delivery promises are worth when things break. Each case does something to the worker, its
//! broker or its portal, and a ledger says what became of everything that was published.
//!
//! The short form, a few hundred messages for each case, is part of every `cargo test`. The long form is
//! `CKAN_WORKER_TEST_LONG=1 cargo test -p worker-tests --test faults`. With `UPDATE_GOLDEN=1` the table in
//! `tests/FAULTS.md` is written anew.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "faults/cases.rs"]
mod cases;
#[path = "faults/file_queue.rs"]
mod file_queue;
#[path = "faults/fragile.rs"]
mod fragile;
#[path = "faults/scene.rs"]
mod scene;
#[path = "faults/table.rs"]
mod table;

#[path = "faults/broken_broker.rs"]
mod broken_broker;
#[path = "faults/broken_disk.rs"]
mod broken_disk;
#[path = "faults/broken_host.rs"]
mod broken_host;
#[path = "faults/broken_line.rs"]
mod broken_line;
#[path = "faults/broken_messages.rs"]
mod broken_messages;
#[path = "faults/broken_plugin.rs"]
mod broken_plugin;
#[path = "faults/broken_portal.rs"]
mod broken_portal;
#[path = "faults/broken_topology.rs"]
mod broken_topology;
#[path = "faults/controls.rs"]
mod controls;
#[path = "faults/embedded.rs"]
mod embedded;
#[path = "faults/replay.rs"]
mod replay;

#[test]
fn the_witness_serves_when_it_is_asked() {
    worker_tests::witness::serve_if_asked();
}
