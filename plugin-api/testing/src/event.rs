use ckan_worker_plugin::json;

/// The dataset that the ready-made notifications are about.
pub const PACKAGE_ID: &str = "5f0c3f10-6a5b-4ad0-9c3e-000000000001";

/// The resource that the ready-made notifications are about.
pub const RESOURCE_ID: &str = "a1b2c3d4-6a5b-4ad0-9c3e-000000000001";

/// A notification for a test: what CKAN said, and how often it was tried.
#[derive(Debug, Clone)]
pub struct Event {
    pub(crate) routing_key: String,
    pub(crate) operation: String,
    pub(crate) payload: Vec<u8>,
    pub(crate) attempt: u32,
    pub(crate) redelivered: bool,
    pub(crate) dry_run: bool,
}

impl Event {
    /// A notification with any payload: a JSON text, or what is to be mistaken for one.
    pub fn new(routing_key: &str, operation: &str, payload: impl Into<Vec<u8>>) -> Self {
        Self {
            routing_key: routing_key.to_owned(),
            operation: operation.to_owned(),
            payload: payload.into(),
            attempt: 1,
            redelivered: false,
            dry_run: false,
        }
    }

    /// Replaces the payload, and with it the ids.
    #[must_use]
    pub fn payload(mut self, payload: impl Into<Vec<u8>>) -> Self {
        self.payload = payload.into();
        self
    }

    /// Says which attempt it is; the first, unless said.
    #[must_use]
    pub fn attempt(mut self, attempt: u32) -> Self {
        self.attempt = attempt;
        self
    }

    /// Says that nothing is to be changed. CKAN and the state of the bench are changed all the same.
    #[must_use]
    pub fn dry_run(mut self) -> Self {
        self.dry_run = true;
        self
    }

    /// Says that it may have been delivered before.
    #[must_use]
    pub fn redelivered(mut self) -> Self {
        self.redelivered = true;
        self
    }
}

/// The dataset [`PACKAGE_ID`] is new.
pub fn package_new() -> Event {
    Event::new("Package", "new", package())
}

/// The dataset [`PACKAGE_ID`] has changed.
pub fn package_changed() -> Event {
    Event::new("Package", "changed", package())
}

/// The resource [`RESOURCE_ID`] of the dataset [`PACKAGE_ID`] has changed.
pub fn resource_changed() -> Event {
    Event::new("Resource", "changed", json!({ "id": RESOURCE_ID, "package_id": PACKAGE_ID }).to_string())
}

fn package() -> String {
    json!({ "id": PACKAGE_ID }).to_string()
}
