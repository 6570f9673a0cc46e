//! Sends a file beside the parameters of an action.

use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::{Client, Kind, bad_request};
use crate::services::Failure;
use crate::services::http::{Body, multipart};

/// A line that is slower than this is given up; so a long file may take longer than a short one.
const BYTES_PER_SECOND_MIN: u64 = 128 * 1024;

/// Which file is sent, and as what.
#[derive(Deserialize)]
struct UploadedFile {
    field: String,
    path: PathBuf,
    filename: String,
    mimetype: String,
}

impl Client {
    /// Calls an action with a file beside its parameters, a JSON object. `file` is a JSON object with `field`, `path`,
    /// `filename` and `mimetype`. The file is sent piece by piece, and only once: whether it arrived cannot be told.
    ///
    /// # Errors
    /// As [`action`](Self::action); `ckan.upload` if the file cannot be read.
    pub async fn upload(&self, name: &str, parameters: &[u8], file: &[u8]) -> Result<Bytes, Failure> {
        self.upload_as(None, name, parameters, file).await
    }

    /// The same, telling CKAN who writes.
    ///
    /// # Errors
    /// As [`upload`](Self::upload).
    pub async fn upload_as(
        &self,
        origin: Option<&str>,
        name: &str,
        parameters: &[u8],
        file: &[u8],
    ) -> Result<Bytes, Failure> {
        let url = self.url(name)?;
        let file: UploadedFile =
            serde_json::from_slice(file).map_err(|error| bad_request(name, &format!("which file to send: {error}")))?;
        let parameters: Map<String, Value> = serde_json::from_slice(parameters)
            .map_err(|error| bad_request(name, &format!("the parameters are no JSON object: {error}")))?;
        if self.is_dry_run() {
            let mut told = parameters;
            told.insert(file.field, format!("{} ({})", file.filename, file.mimetype).into());
            return Ok(self.refuse(name, told));
        }
        let opened = open(&file.path).await.map_err(|error| unread(name, &file.path, &error))?;
        let (content, length) = opened;
        let part = multipart::Part::stream_with_length(content, length).file_name(file.filename);
        let part = part.mime_str(&file.mimetype).map_err(|_| bad_request(name, "this is no media type"))?;
        let form = parameters
            .into_iter()
            .fold(multipart::Form::new(), |form, (key, value)| form.text(key, text(value)))
            .part(file.field, part);
        let timeout = self.timeout + Duration::from_secs(length / BYTES_PER_SECOND_MIN);
        let request = self.http.post(url).timeout(timeout).multipart(form);
        self.call(name, Kind::Once, origin, request).await
    }
}

async fn open(path: &Path) -> std::io::Result<(Body, u64)> {
    let file = tokio::fs::File::open(path).await?;
    let length = file.metadata().await?.len();
    Ok((file.into(), length))
}

fn unread(name: &str, path: &Path, error: &std::io::Error) -> Failure {
    Failure::permanent("ckan.upload", format!("{name}: cannot read {}: {error}", path.display()))
}

/// Multipart knows only texts; CKAN reads an empty one as nothing.
fn text(value: Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text,
        other => other.to_string(),
    }
}
