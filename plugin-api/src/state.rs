#![expect(unsafe_code, reason = "the plugin's side of the host's vtable")]

use ckan_worker_abi::abi_stable::std_types::RSlice;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::host::{Host, bytes, too_old};
use crate::{Error, Result};

/// How many keys are asked for at once.
const PAGE: u32 = 256;

/// What a worker remembers from one run to the next, by key.
///
/// It lies in the host's store, apart for each worker. What a run writes it reads at once, and others see it when the
/// run has ended well: all of it is stored together with that end, or nothing is. Runs about one dataset come one after
/// another; those about others go beside them, so keep what belongs to a dataset under its id.
///
/// A key has at most 512 bytes, a value at most 1 MiB of JSON, and a run may write 100,000 keys.
///
/// ```
/// # use ckan_worker_plugin::prelude::*;
/// fn count(host: &Host<'_>, dataset: &str) -> Result<u64> {
///     let key = format!("seen/{dataset}");
///     let seen = host.state().get::<u64>(&key)?.unwrap_or(0) + 1;
///     host.state().put(&key, &seen)?;
///     Ok(seen)
/// }
/// ```
#[derive(Clone, Copy)]
pub struct State<'a> {
    pub(crate) host: Host<'a>,
}

impl State<'_> {
    /// The value of a key; `None` without one.
    ///
    /// # Errors
    /// `state.…` if the store cannot be read; `answer` if the value is not a `T`.
    pub fn get<T: DeserializeOwned>(&self, key: &str) -> Result<Option<T>> {
        let get = self.host.raw.vt.state_get().ok_or_else(too_old)?;
        // SAFETY: the context is valid while `Host` is; the key outlives the call.
        match bytes(unsafe { get(self.host.raw.ctx, key.into()) }) {
            Ok(value) => read(key, &value).map(Some),
            Err(error) if error.code() == "state.absent" => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Sets the value of a key.
    ///
    /// # Errors
    /// `state.too-large` beyond the limits above.
    pub fn put<T: Serialize + ?Sized>(&self, key: &str, value: &T) -> Result<()> {
        let put = self.host.raw.vt.state_put().ok_or_else(too_old)?;
        let value = serde_json::to_vec(value)?;
        // SAFETY: the context is valid while `Host` is; key and value outlive the call.
        bytes(unsafe { put(self.host.raw.ctx, key.into(), RSlice::from_slice(&value)) }).map(drop)
    }

    /// Deletes a key; one that is not there is no error.
    ///
    /// # Errors
    /// As [`put`](Self::put).
    pub fn delete(&self, key: &str) -> Result<()> {
        let delete = self.host.raw.vt.state_delete().ok_or_else(too_old)?;
        // SAFETY: the context is valid while `Host` is; the key outlives the call.
        bytes(unsafe { delete(self.host.raw.ctx, key.into()) }).map(drop)
    }

    /// All keys that begin so, in order, with their values.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub fn scan<T: DeserializeOwned>(&self, prefix: &str) -> Result<Vec<(String, T)>> {
        let mut found = Vec::new();
        let mut after = String::new();
        loop {
            let page = self.page(prefix, &after)?;
            let is_last = page.len() < PAGE as usize;
            for (key, value) in page {
                let value = read(&key, &value)?;
                after.clone_from(&key);
                found.push((key, value));
            }
            if is_last {
                return Ok(found);
            }
        }
    }

    /// Sets the value of a key if it still has the one that is expected; `None` stands for no value. Answers whether it
    /// did. What others have stored since is looked at again when the run ends; if it differs then, the run is repeated.
    ///
    /// # Errors
    /// As [`put`](Self::put).
    pub fn swap<T: Serialize + ?Sized>(&self, key: &str, expected: Option<&T>, value: &T) -> Result<bool> {
        let swap = self.host.raw.vt.state_swap().ok_or_else(too_old)?;
        let expected = expected.map_or(Ok(Vec::new()), serde_json::to_vec)?;
        let value = serde_json::to_vec(value)?;
        let (expected, value) = (RSlice::from_slice(&expected), RSlice::from_slice(&value));
        // SAFETY: the context is valid while `Host` is; all three outlive the call.
        let answer = bytes(unsafe { swap(self.host.raw.ctx, key.into(), expected, value) })?;
        Ok(answer.first() == Some(&1))
    }

    fn page(&self, prefix: &str, after: &str) -> Result<Vec<(String, Vec<u8>)>> {
        let scan = self.host.raw.vt.state_scan().ok_or_else(too_old)?;
        // SAFETY: the context is valid while `Host` is; both texts outlive the call.
        let page = bytes(unsafe { scan(self.host.raw.ctx, prefix.into(), after.into(), PAGE) })?;
        let mut rest = page.as_slice();
        let mut entries = Vec::new();
        while !rest.is_empty() {
            entries.push(entry(&mut rest).ok_or_else(|| Error::permanent("the host sent half an entry"))?);
        }
        Ok(entries)
    }
}

/// Takes the first entry of a page.
fn entry(rest: &mut &[u8]) -> Option<(String, Vec<u8>)> {
    let key_length = u32::from_le_bytes(*rest.first_chunk()?) as usize;
    let value_length = u32::from_le_bytes(*rest.get(4..)?.first_chunk()?) as usize;
    let (key, value) = rest.get(8..8 + key_length + value_length)?.split_at(key_length);
    let entry = (String::from_utf8_lossy(key).into_owned(), value.to_vec());
    *rest = &rest[8 + key_length + value_length..];
    Some(entry)
}

fn read<T: DeserializeOwned>(key: &str, value: &[u8]) -> Result<T> {
    serde_json::from_slice(value).map_err(|error| {
        Error::permanent(format!("the value of {key:?} does not have the expected shape: {error}")).with_code("answer")
    })
}
