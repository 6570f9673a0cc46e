//! A call's way to strangers' addresses.

use std::borrow::Cow;
use std::path::{Path, PathBuf};
use std::sync::PoisonError;

use bytes::Bytes;
use ckan_worker_plugin::WireRequest;
use serde::Deserialize;
use url::Url;

use super::{Call, json};
use crate::services::Failure;

impl Call<'_> {
    pub(in crate::services) fn fetch(&self, request: &[u8]) -> Result<Bytes, Failure> {
        let request: FetchRequest<'_> = serde_json::from_slice(request).map_err(|error| not_a_request(&error))?;
        let fetched = self.wait(self.services.fetcher.fetch(&request.url, request.bytes_max, self.fetched_dir()))?;
        self.keep_track_of(fetched.path.clone());
        json(&fetched)
    }

    pub(in crate::services) fn http(&self, request: &[u8], body: &[u8]) -> Result<Bytes, Failure> {
        let request: WireRequest = serde_json::from_slice(request).map_err(|error| not_a_request(&error))?;
        let services = self.services;
        let portal = self.is_own_upload(&request.url).then_some(&services.ckan);
        let body = Bytes::copy_from_slice(body);
        let response = self.wait(services.fetcher.request_of(portal, &request, body, self.fetched_dir()))?;
        if let Some(body) = &response.body {
            self.keep_track_of(body.path.clone());
        }
        json(&response)
    }

    /// Whether an address is that of a file of the very dataset that the call is about, uploaded to the portal: then it
    /// is opened with the portal's token, for the dataset may be private. Any other is opened as a stranger would: who
    /// typed it must not have the worker see what they may not see themselves. The address of an upload is CKAN's own word,
    /// so it has to be that word for word.
    fn is_own_upload(&self, typed: &str) -> bool {
        let Some(dataset) = self.about.and_then(|about| about.notification.package_id()) else { return false };
        let Ok(url) = Url::parse(typed) else { return false };
        let Some(id) = self.services.ckan.uploaded_resource(&url) else { return false };
        let Ok(dataset) = self.dataset(dataset) else { return false };
        let mut resources = dataset["resources"].as_array().into_iter().flatten();
        resources.any(|resource| {
            let is_its_file = resource["url"].as_str().is_some_and(|own| own.trim() == typed.trim());
            resource["id"] == id && resource["url_type"] == "upload" && is_its_file
        })
    }

    fn fetched_dir(&self) -> &Path {
        // Something may sweep what looks old in the system's temporary folder; if this fails, fetching says so.
        let _ = std::fs::create_dir_all(&self.services.fetched_dir);
        &self.services.fetched_dir
    }

    fn keep_track_of(&self, path: PathBuf) {
        self.fetched.lock().unwrap_or_else(PoisonError::into_inner).push(path);
    }
}

#[derive(Deserialize)]
struct FetchRequest<'a> {
    #[serde(borrow)]
    url: Cow<'a, str>,
    bytes_max: u64,
}

fn not_a_request(error: &serde_json::Error) -> Failure {
    Failure::permanent("fetch.request", format!("not a request to fetch: {error}"))
}
