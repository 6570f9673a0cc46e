//! Clients that write to a portal, and what they know to be saved.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::Scope;
use std::time::Duration;

use serde_json::{Value, json};
use worker_tests::ckan::Site;
use worker_tests::{Consumed, eventually, eventually_some};

/// How many write at the same time.
const CLIENTS: usize = 4;

/// How many datasets a client has written since it wrote the one that it deletes: what is gone before anybody has asked
/// leaves no trace to find.
const LATER: usize = 10;

/// How long a client tries until the portal answers again.
const PATIENCE: Duration = Duration::from_secs(90);

/// How a dataset ended.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Last {
    /// With this title.
    Title(String),
    Deleted,
}

/// Clients that write to a portal: each makes its datasets, changes them, and deletes every third.
pub struct Clients {
    count: usize,
    done: AtomicUsize,
    saved: Mutex<BTreeMap<String, Last>>,
    /// What was refused, or failed in the middle.
    never_saved: Mutex<Vec<String>>,
}

impl Clients {
    /// Clients that write so many datasets in all.
    pub fn new(count: usize) -> Self {
        Self { count, done: AtomicUsize::new(0), saved: Mutex::default(), never_saved: Mutex::default() }
    }

    /// How many datasets are written.
    pub fn count(&self) -> usize {
        self.count
    }

    /// Begins to write.
    pub fn write<'s>(&'s self, scope: &'s Scope<'s, '_>, site: &'s Site) {
        for client in 0..CLIENTS {
            scope.spawn(move || {
                for number in (client..self.count).step_by(CLIENTS) {
                    self.saved(number, write(site, number));
                    self.done.fetch_add(1, Ordering::SeqCst);
                    if let Some(earlier) = number.checked_sub(LATER * CLIENTS).filter(|earlier| earlier % 3 == 0) {
                        self.saved(earlier, delete(site, earlier));
                    }
                }
            });
        }
    }

    fn saved(&self, number: usize, last: Last) {
        self.saved.lock().unwrap().insert(id(number), last);
    }

    /// Waits until so many datasets are written.
    pub fn wait_until_done(&self, count: usize) {
        let is_done = || self.done.load(Ordering::SeqCst) >= count;
        assert!(eventually(PATIENCE * 2, is_done), "{} of {}", self.done.load(Ordering::SeqCst), self.count);
    }

    /// Tries to make datasets that are not saved: some are not valid, others the index does not take, so that CKAN rolls
    /// back what it has announced.
    pub fn try_in_vain(&self, site: &Site) {
        let make = |number: usize, owner: &str| {
            let id = format!("{number:08x}-0000-4000-9000-000000000000");
            let dataset = json!({
                "id": id, "name": format!("ghost-{number}"), "owner_org": owner, "resources": [{"url": "http://x.example/"}],
            });
            let made = site.try_call("package_create", &dataset);
            assert!(made.is_err(), "{made:?}");
            self.never_saved.lock().unwrap().push(id);
        };
        (0..3).for_each(|number| make(number, "no-such-organization"));
        site.solr_control(&json!({"update_status": 500}));
        (3..6).for_each(|number| make(number, "test-org"));
        site.solr_control(&json!({"update_status": 0}));
    }

    /// Takes what the database holds for what is saved. CKAN 2.12 that was killed between the index and the database may
    /// take the same write for no change when it is tried again, and say that it is done.
    pub fn learn(&self, site: &Site) {
        let rows = site.sql("SELECT id || '|' || state || '|' || title FROM package");
        let held: BTreeMap<&str, Last> = rows
            .lines()
            .map(|row| {
                let [id, state, title] = row.splitn(3, '|').collect::<Vec<_>>().try_into().unwrap();
                (id, if state == "deleted" { Last::Deleted } else { Last::Title(title.to_owned()) })
            })
            .collect();
        let mut saved = self.saved.lock().unwrap();
        let mut untrue = 0;
        for (id, last) in &mut *saved {
            let held = held.get(id.as_str()).cloned().unwrap_or(Last::Deleted);
            untrue += usize::from(*last != held);
            *last = held;
        }
        let deleted = saved.values().filter(|last| **last == Last::Deleted).count();
        assert!(deleted > 0, "some are deleted");
        assert!(saved.len() == self.count && untrue <= CLIENTS, "{untrue} writes are not as CKAN has said");
    }

    /// The datasets of whose end nothing was heard; without those that came and went between two questions, if those
    /// are `asked`.
    pub fn missing(&self, heard: &[Consumed], asked: bool) -> Vec<String> {
        self.missing_among(heard, asked, |_| true)
    }

    /// The datasets that are there and whose title was not heard.
    pub fn missing_titles(&self, heard: &[Consumed]) -> Vec<String> {
        self.missing_among(heard, true, |last| *last != Last::Deleted)
    }

    fn missing_among(&self, heard: &[Consumed], asked: bool, is_meant: fn(&Last) -> bool) -> Vec<String> {
        let heard_of = |id: &str, how: &dyn Fn(&Consumed) -> bool| {
            heard.iter().any(|run| run.routing_key == "Package" && run.id.as_deref() == Some(id) && how(run))
        };
        let saved = self.saved.lock().unwrap();
        let is_heard = |id: &str, last: &Last| match last {
            Last::Deleted if asked && !heard_of(id, &|_| true) => true,
            Last::Deleted => heard_of(id, &|run| run.operation == "deleted"),
            Last::Title(title) => heard_of(id, &|run| run.title.as_ref() == Some(title)),
        };
        let missing = saved.iter().filter(|(id, last)| is_meant(last) && !is_heard(id, last));
        let known = |id: &str| {
            let of_it = heard.iter().filter(|run| run.package_id.as_deref() == Some(id));
            let of_it =
                of_it.map(|run| format!("{} {} {:?} at {}", run.routing_key, run.operation, run.title, run.start_ms));
            of_it.collect::<Vec<_>>()
        };
        missing.map(|(id, last)| format!("{id}: {last:?}, heard {:?}", known(id))).collect()
    }

    /// What was heard of datasets that never were.
    pub fn never_saved(&self, heard: &[Consumed]) -> Vec<String> {
        let ghosts = self.never_saved.lock().unwrap();
        assert!(!ghosts.is_empty());
        let ids = heard.iter().flat_map(|run| [&run.id, &run.package_id]).flatten();
        ids.filter(|id| ghosts.contains(id)).cloned().collect()
    }
}

fn id(number: usize) -> String {
    format!("{number:08x}-0000-4000-8000-000000000000")
}

fn write(site: &Site, number: usize) -> Last {
    let id = id(number);
    let resources = json!([{"name": "a", "url": format!("http://files.example/{number}.csv"), "format": "CSV"}]);
    let dataset = json!({
        "id": id, "name": format!("dataset-{number}"), "title": "first", "owner_org": "test-org", "resources": resources,
    });
    // Its answer may have been lost; then it is there already.
    save(site, "package_create", &dataset, 409);
    let title = format!("last {number}");
    save(site, "package_patch", &json!({"id": id, "title": title}), 0);
    Last::Title(title)
}

fn delete(site: &Site, number: usize) -> Last {
    let action = if number.is_multiple_of(2) { "package_delete" } else { "dataset_purge" };
    save(site, action, &json!({"id": id(number)}), 404);
    Last::Deleted
}

/// Calls until CKAN has done it, or says by this status that it was done before.
fn save(site: &Site, action: &str, parameters: &Value, done_before: u16) {
    let mut tries = 0;
    let saved = eventually_some(PATIENCE, || {
        tries += 1;
        match site.try_call(action, parameters) {
            Ok(_) => Some(()),
            Err((status, _)) if status == done_before && tries > 1 => Some(()),
            Err((0 | 500..=599, _)) => None,
            // A failing index is told as 409, too.
            Err((409, error)) if error.to_string().contains("Search") => None,
            Err((status, error)) => panic!("{action} {parameters}: {status} {error}"),
        }
    });
    saved.unwrap_or_else(|| panic!("{action}: CKAN has not done it within {PATIENCE:?}"));
}
