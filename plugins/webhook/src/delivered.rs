//! What was delivered by a run that did not end well, so that the next attempt leaves it out.

use std::sync::{Mutex, MutexGuard, PoisonError};

use indexmap::IndexSet;

/// How many posts are remembered; the oldest is forgotten first.
const POSTS_MAX: usize = 10_000;

/// The posts that arrived although their run has not ended well, by their ids.
///
/// It lies in memory: what a run stores in the host's state is kept only if the run ends well, which is the one case in
/// which nobody asks again. After a restart a target may be posted to twice, with the same id.
#[derive(Debug, Default)]
pub struct Delivered(Mutex<IndexSet<String>>);

impl Delivered {
    /// Remembers a post that has arrived.
    pub fn add(&self, id: &str) {
        let mut ids = self.ids();
        if ids.len() >= POSTS_MAX {
            ids.shift_remove_index(0);
        }
        ids.insert(id.to_owned());
    }

    /// Whether it has arrived.
    pub fn has(&self, id: &str) -> bool {
        self.ids().contains(id)
    }

    /// Forgets posts whose run has ended well: the same words said anew are posted again.
    pub fn forget<'a>(&self, ids: impl IntoIterator<Item = &'a str>) {
        let mut all = self.ids();
        for id in ids {
            all.shift_remove(id);
        }
    }

    fn ids(&self) -> MutexGuard<'_, IndexSet<String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_posts_are_forgotten_first() {
        let delivered = Delivered::default();
        for number in 0..=POSTS_MAX {
            delivered.add(&number.to_string());
        }
        assert!(!delivered.has("0") && delivered.has("1"));
        delivered.forget(["1"]);
        assert!(!delivered.has("1"));
        assert_eq!(delivered.ids().len(), POSTS_MAX - 1);
    }
}
