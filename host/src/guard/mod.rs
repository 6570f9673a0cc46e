//! Keeps a worker from being called again and again by what it writes itself.
//!
//! Whatever a worker writes to CKAN comes back as a notification. Three things stop that, and none of them asks anything
//! of the worker's author: a fingerprint of what a worker looks at says whether there is anything new for it; a worker's
//! own write is known again by what the dataset looked like afterwards; and whoever is called too often in spite of both
//! is put into quarantine. Here are the decisions; what they rest on stands in the store.

mod budget;
mod fingerprint;
mod path;
mod subject;
mod watched;

pub use budget::{Budget, Quarantine};
pub use fingerprint::{Fingerprint, View};
pub use subject::Subject;
pub use watched::{Declared, Look, Watched};
