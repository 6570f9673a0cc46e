//! Plugin files as they come: good ones, older and newer ones, and everything that is refused.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

#[path = "plugin_files/fixtures.rs"]
mod fixtures;
#[path = "plugin_files/found.rs"]
mod found;
#[path = "plugin_files/refused.rs"]
mod refused;
#[path = "plugin_files/rig.rs"]
mod rig;
#[path = "plugin_files/test_host.rs"]
mod test_host;
#[path = "plugin_files/works.rs"]
mod works;
