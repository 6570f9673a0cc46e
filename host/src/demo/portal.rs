//! A portal on loopback that speaks CKAN's action API and remembers what it was asked.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use axum::http::{HeaderName, HeaderValue, StatusCode};
use serde_json::{Map, Value};
use tokio::sync::mpsc;

use super::announce::{self, Notice};
use super::call::{Call, Failure, Shared, lock, routes};
use super::dataset::{Dataset, Datasets, resources, text};
use super::server::Server;

/// A running portal. It stops when it is dropped; [`stop`](Self::stop) also waits until it has.
#[derive(Debug)]
pub struct Portal {
    server: Server,
    shared: Arc<Mutex<Shared>>,
}

impl Portal {
    /// Starts a portal with these datasets on a free loopback port.
    ///
    /// # Errors
    /// There is no free port, or the system does not let us listen.
    pub async fn start(datasets: Datasets) -> io::Result<Self> {
        let mut shared = None;
        let server = Server::start(|address, _| {
            let made = Arc::new(Mutex::new(Shared::new(format!("http://{address}"), datasets)));
            shared = Some(Arc::clone(&made));
            routes(made)
        })
        .await?;
        Ok(Self { server, shared: shared.expect("a server that started has made its routes") })
    }

    /// The portal's address, without a slash at the end: the `site_url` of a configuration.
    pub fn url(&self) -> String {
        self.server.url()
    }

    /// Every call since the start, in the order of their answers.
    pub fn calls(&self) -> Vec<Call> {
        self.lock().calls.clone()
    }

    /// The calls of one action.
    pub fn calls_of(&self, action: &str) -> Vec<Call> {
        self.lock().calls.iter().filter(|call| call.action == action).cloned().collect()
    }

    /// Waits until an action was called so often, counted from the start; calls that failed count too.
    pub async fn called(&self, action: &str, times: usize) {
        let mut news = self.lock().news.subscribe();
        while self.calls_of(action).len() < times {
            news.changed().await.expect("the portal that is asked is there");
        }
    }

    /// Answers the next call of `action` with this status and body, and changes nothing.
    ///
    /// Told several times, it fails as many calls, in this order. A body that starts with `<` is sent as HTML.
    pub fn fail_next(&self, action: &str, status: u16, body: &str) {
        self.fail_next_with(action, status, body, &[]);
    }

    /// Like [`fail_next`](Self::fail_next), with headers beside it, as in `[("Retry-After", "2")]`.
    ///
    /// # Panics
    /// The status or a header is not one that HTTP knows: a mistake in the test.
    pub fn fail_next_with(&self, action: &str, status: u16, body: &str, headers: &[(&'static str, &'static str)]) {
        let header = |(name, value): &(&'static str, &'static str)| {
            (name.parse::<HeaderName>().expect("a header's name"), HeaderValue::from_static(value))
        };
        self.lock().failures.push_back(Failure {
            action: action.to_owned(),
            status: StatusCode::from_u16(status).expect("a status between 100 and 999"),
            headers: headers.iter().map(header).collect(),
            body: body.to_owned(),
        });
    }

    /// From now on a write is answered only so long after it is done and announced: its notification comes first.
    pub fn hold_answers(&self, held: Duration) {
        self.lock().held = held;
    }

    /// What the portal announces from now on: after each change that is committed, in the published shape.
    ///
    /// The order is that of CKAN: new resources, changed ones, then the dataset.
    pub fn notices(&self) -> mpsc::UnboundedReceiver<Notice> {
        let (sender, receiver) = mpsc::unbounded_channel();
        self.lock().listeners.push(sender);
        receiver
    }

    /// The notification that CKAN would publish about a dataset (by id or name) or a resource (by id).
    pub fn notification(&self, id: &str, operation: &'static str) -> Option<Vec<u8>> {
        let shared = self.lock();
        let of_package =
            shared.store.find(id).map(|package| announce::of_package(package, operation, &shared.site_url));
        let notice = of_package
            .or_else(|| shared.store.find_resource(id).map(|resource| announce::of_resource(resource, operation)));
        notice.map(|notice| notice.body)
    }

    /// `Package changed` for every dataset, hidden ones too: what a person would send to have all of them worked on.
    pub fn backfill(&self) -> Vec<Notice> {
        let shared = self.lock();
        let packages = shared.store.packages().iter();
        packages.map(|package| announce::of_package(package, "changed", &shared.site_url)).collect()
    }

    /// Adds a dataset as a person would, and announces it.
    pub fn create(&self, dataset: Dataset) {
        let mut shared = self.lock();
        shared.store.create(dataset);
        shared.announce();
    }

    /// Changes a dataset (by id or name) as a person would, and announces what changed; whether anything did.
    ///
    /// # Panics
    /// There is no such dataset, or what it was changed to is not valid: a mistake in the test.
    pub fn edit(&self, id: &str, edit: impl FnOnce(&mut Map<String, Value>)) -> bool {
        let mut shared = self.lock();
        let mut package = shared.store.find(id).cloned().expect("the dataset to edit is on the portal");
        edit(&mut package);
        let changed = shared.store.commit(package).expect("the edited dataset is valid");
        shared.announce();
        changed
    }

    /// A dataset as it is stored now, in the shape of `package_show`; `None` if there is none with this id or name.
    pub fn package(&self, id: &str) -> Option<Value> {
        self.lock().store.find(id).cloned().map(Value::Object)
    }

    /// A resource as it is stored now, by id or by name; `None` if there is none.
    pub fn resource(&self, id: &str) -> Option<Value> {
        let shared = self.lock();
        let mut all = shared.store.packages().iter().flat_map(resources);
        all.find(|resource| text(resource, "id") == id || text(resource, "name") == id).cloned().map(Value::Object)
    }

    /// Stops the portal and waits until every answer under way has ended.
    pub async fn stop(self) {
        self.server.stop().await;
    }

    fn lock(&self) -> MutexGuard<'_, Shared> {
        lock(&self.shared)
    }
}
