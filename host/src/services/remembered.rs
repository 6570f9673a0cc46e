//! What a run has noted and not yet stored: it reads its own writes, and others see them when it has ended.

use std::collections::BTreeMap;

use super::Failure;
use crate::store::{RunEnd, Store, StoreError};

/// The longest key, in bytes.
const KEY_BYTES_MAX: usize = 512;
/// The longest value, in bytes.
const VALUE_BYTES_MAX: usize = 1024 * 1024;
/// How many keys a run may set.
const KEYS_MAX: usize = 100_000;

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        // Nothing of it is the notification's fault.
        Self::retryable(STORE, error.to_string())
    }
}

/// The code of what fails because the store cannot be used.
pub const STORE: &str = "state.store";

/// A worker's state as a run sees it: the store's, with what the run has set itself.
pub(super) struct Remembered<'a> {
    pub store: &'a Store,
    pub end: &'a mut RunEnd,
}

impl Remembered<'_> {
    /// The value of a key.
    pub fn get(&self, key: &str) -> Result<Option<String>, Failure> {
        match self.end.state.get(key) {
            Some(value) => Ok(value.clone()),
            None => Ok(self.store.get(&self.end.worker, key)?),
        }
    }

    /// Sets the value of a key, or deletes it.
    pub fn set(&mut self, key: &str, value: Option<&[u8]>) -> Result<(), Failure> {
        let value = value.map(text).transpose()?;
        if key.is_empty() || key.len() > KEY_BYTES_MAX {
            return Err(too_large(&format!("a key of {} bytes; it has 1 to {KEY_BYTES_MAX}", key.len())));
        }
        if let Some(value) = &value
            && value.len() > VALUE_BYTES_MAX
        {
            return Err(too_large(&format!("a value of {} bytes; it has at most {VALUE_BYTES_MAX}", value.len())));
        }
        if self.end.state.len() >= KEYS_MAX && !self.end.state.contains_key(key) {
            return Err(too_large(&format!("more than {KEYS_MAX} keys set in one run")));
        }
        self.end.state.insert(key.to_owned(), value);
        Ok(())
    }

    /// Sets the value of a key if it is still the one expected; whether it was. An empty one stands for none.
    pub fn swap(&mut self, key: &str, expected: &[u8], value: &[u8]) -> Result<bool, Failure> {
        let is = self.get(key)?;
        if is.as_deref().unwrap_or_default().as_bytes() != expected {
            return Ok(false);
        }
        let was_set_here = self.end.state.contains_key(key);
        self.set(key, Some(value))?;
        if !was_set_here {
            self.end.expected.insert(key.to_owned(), is);
        }
        Ok(true)
    }

    /// Up to `limit` keys that begin with `prefix` and come behind `after`, in order, with their values.
    pub fn scan(&self, prefix: &str, after: &str, limit: usize) -> Result<Vec<(String, String)>, Failure> {
        let is_asked_for = |key: &str| key.starts_with(prefix) && key > after;
        let set_here = || self.end.state.iter().filter(|(key, _)| is_asked_for(key));
        // Those that were deleted here take no place in the answer.
        let wanted = limit.saturating_add(set_here().filter(|(_, value)| value.is_none()).count());
        let stored = self.store.scan(&self.end.worker, prefix, after, wanted)?;
        // Behind the last of a full page there may be others that are not known yet.
        let known_up_to = (stored.len() == wanted).then(|| stored.last().map(|(key, _)| key.clone())).flatten();
        let mut found: BTreeMap<String, String> = stored.into_iter().collect();
        for (key, value) in set_here() {
            if known_up_to.as_ref().is_some_and(|last| key > last) {
                continue;
            }
            match value {
                Some(value) => found.insert(key.clone(), value.clone()),
                None => found.remove(key),
            };
        }
        Ok(found.into_iter().take(limit).collect())
    }
}

/// Entries as they cross the border: for each the two lengths, the key, the value.
pub(super) fn framed(entries: &[(String, String)]) -> Vec<u8> {
    let mut page = Vec::with_capacity(entries.iter().map(|(key, value)| 8 + key.len() + value.len()).sum());
    for (key, value) in entries {
        for text in [key, value] {
            page.extend(u32::try_from(text.len()).unwrap_or(u32::MAX).to_le_bytes());
        }
        page.extend(key.as_bytes());
        page.extend(value.as_bytes());
    }
    page
}

fn text(value: &[u8]) -> Result<String, Failure> {
    std::str::from_utf8(value)
        .map(str::to_owned)
        .map_err(|_| Failure::permanent("state.not-text", "what a worker remembers is JSON, and this is no text"))
}

fn too_large(what: &str) -> Failure {
    Failure::permanent("state.too-large", format!("too large for the store: {what}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Settings;

    #[test]
    fn a_run_reads_what_it_wrote_and_scans_it_in_order_with_what_was_stored() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&Settings { path: dir.path().join("store") }).unwrap();
        let mut end = RunEnd { worker: "w".to_owned(), ..RunEnd::default() };
        let mut state = Remembered { store: &store, end: &mut end };
        for key in ["a", "c", "e", "g"] {
            state.set(key, Some(b"1")).unwrap();
        }
        store.end(state.end).unwrap();
        let mut end = RunEnd { worker: "w".to_owned(), ..RunEnd::default() };
        let mut state = Remembered { store: &store, end: &mut end };
        state.set("b", Some(b"2")).unwrap();
        state.set("c", None).unwrap();
        state.set("z", Some(b"2")).unwrap();
        let keys = |after: &str, limit| -> Vec<String> {
            state.scan("", after, limit).unwrap().into_iter().map(|(key, _)| key).collect()
        };
        assert_eq!(keys("", 10), ["a", "b", "e", "g", "z"]);
        assert_eq!(keys("", 2), ["a", "b"]);
        assert_eq!(keys("b", 2), ["e", "g"]);
        assert_eq!(keys("g", 2), ["z"]);
        assert_eq!(state.get("c").unwrap(), None);
        assert!(state.swap("a", b"1", b"5").unwrap() && !state.swap("a", b"1", b"6").unwrap());
        assert!(state.swap("n", b"", b"5").unwrap());
        assert_eq!(state.end.expected.len(), 2);
        assert_eq!(state.set("", Some(b"1")).unwrap_err().code, "state.too-large");
        assert_eq!(state.set("k", Some(&vec![b'1'; VALUE_BYTES_MAX + 1])).unwrap_err().code, "state.too-large");
    }
}
