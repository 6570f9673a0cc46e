//! The sample portal of `worker demo`, which is also the portal that tests use.
//!
//! A [`Web`] serves the files that resources point to, with the faults that the web has; a [`Portal`] speaks CKAN's
//! action API about datasets, remembers every call, can be told to fail, and announces what was committed as CKAN's
//! publisher would. [`data`] has the demo's own datasets and what archiving them must come to; a test brings its own:
//!
//! ```
//! use ckan_worker::demo::{Behaviour, Dataset, Datasets, Portal, Web};
//!
//! # tokio::runtime::Runtime::new().unwrap().block_on(async {
//! let file = Behaviour::File { mimetype: "text/csv".into(), body: "a,b\n1,2\n".into() };
//! let web = Web::start([("/a.csv".to_owned(), file)]).await?;
//! let dataset = Dataset::new("sums").resource("a.csv", &format!("{}/a.csv", web.url()), "CSV");
//! let portal = Portal::start(Datasets::default().with_user("worker", "a-token").with(dataset)).await?;
//!
//! assert!(portal.notification("sums", "changed").is_some());
//! assert_eq!(portal.calls(), []);
//! # portal.stop().await;
//! # web.stop().await;
//! # Ok::<(), std::io::Error>(())
//! # }).unwrap();
//! ```

mod actions;
mod announce;
mod call;
pub mod data;
mod dataset;
mod digest;
mod envelope;
mod expected;
mod merge;
mod portal;
mod progress;
mod revise;
mod sample;
mod server;
mod show;
pub mod table;
mod validate;
mod web;

#[cfg(test)]
mod tests;

pub use announce::Notice;
pub use call::{Call, Caller};
pub use data::expected;
pub use dataset::{Dataset, Datasets};
pub use expected::{Expected, mismatches};
pub use portal::Portal;
pub use sample::Sample;
pub use show::{Show, ShowError};
pub use table::{ResourceLine, Table};
pub use web::{Behaviour, Hit, Web};
