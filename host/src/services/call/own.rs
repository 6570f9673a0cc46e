//! Knows a call's own writes again.

use std::sync::{Mutex, MutexGuard, PoisonError};

use serde_json::Value;

use super::Call;
use super::ending::Seen;
use crate::guard::{Fingerprint, Subject, View};
use crate::services::Failure;
use crate::services::ckan::{self, OwnWrites, Revision};
use crate::store::{Image, RunEnd, StoreError};

/// Knows the writes of one flush again.
pub(super) struct Own<'a> {
    call: &'a Call<'a>,
    /// What the run looked at, if nothing but its end comes after this flush.
    seen: Option<&'a Seen>,
    /// Who writes, as CKAN is told.
    origin: String,
    noted: Mutex<Noted>,
}

/// What was noted of the write that is under way, and of those before it.
#[derive(Default)]
struct Noted {
    /// The dataset that is being written.
    package: String,
    images: Vec<(String, Fingerprint)>,
    /// What may look otherwise once it is written, and is to look like this beside that.
    beside: Option<(View, Fingerprint)>,
    subjects: Vec<Subject>,
    run_end: Option<RunEnd>,
}

impl<'a> Own<'a> {
    /// The writes of a call. `seen` is what its run looked at, if nothing but the end of the run comes after them.
    pub fn new(call: &'a Call<'a>, seen: Option<&'a Seen>) -> Self {
        Self { call, seen, origin: call.origin(), noted: Mutex::default() }
    }

    /// Forgets what was noted, unless it may have been done all the same.
    pub fn forget_unless_done(&self, failure: &Failure) -> Result<(), Failure> {
        if matches!(failure.code, ckan::UNAVAILABLE | "ckan.server" | "cancelled") {
            return Ok(());
        }
        for (subject, image) in self.noted().images.drain(..) {
            self.call.store().forget_write(&self.image(&subject, image))?;
        }
        Ok(())
    }

    fn note(&self, subject: &Subject, image: Fingerprint, run_end: Option<&RunEnd>) -> Result<(), StoreError> {
        let run_end = run_end.filter(|end| end.subject == subject.key());
        self.call.store().note_write(&self.image(subject.key(), image), run_end)
    }

    fn image<'i>(&'i self, subject: &'i str, image: Fingerprint) -> Image<'i> {
        Image { worker: self.call.worker, subject, call: self.call.number, image }
    }

    /// What a revision is about: its dataset and, for a worker that works on single resources, those that it changes.
    fn subjects(&self, revision: &Revision) -> Vec<Subject> {
        let mut subjects = vec![Subject::new(&revision.package, None)];
        if self.call.about.is_some_and(|about| about.is_by_resource) {
            let mut resources: Vec<&str> =
                revision.changes.iter().filter_map(|change| change.resource.as_deref()).collect();
            resources.dedup();
            subjects.extend(resources.into_iter().map(|id| Subject::new(&revision.package, Some(id))));
        }
        subjects
    }

    fn noted(&self) -> MutexGuard<'_, Noted> {
        self.noted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl OwnWrites for Own<'_> {
    fn origin(&self) -> Option<&str> {
        Some(&self.origin)
    }

    fn before(&self, revision: &Revision, dataset: &Value, is_last: bool) -> Result<(), Failure> {
        let end = self.call.end(self.seen, &revision.paths);
        let is_end = is_last && self.seen.is_some() && self.call.is_about(&revision.package);
        let run_end = is_end.then_some(end);
        let subjects = self.subjects(revision);
        let mut noted = self.noted();
        let earlier = std::mem::take(&mut noted.images);
        if noted.package == revision.package {
            // An earlier try, which others were faster than.
            for (subject, image) in earlier {
                self.call.store().forget_write(&self.image(&subject, image))?;
            }
        }
        noted.package.clone_from(&revision.package);
        for subject in &subjects {
            let look = |dataset| View::whole().fingerprint(&subject.part(dataset));
            let image = look(&revision.after);
            // What cannot be told from before says nothing about whether it was written.
            if image != look(dataset) {
                self.note(subject, image, run_end.as_ref())?;
                noted.images.push((subject.key().to_owned(), image));
            }
        }
        let beside = View::of_worker(&[], &revision.paths);
        let as_it_is = beside.fingerprint(&revision.after);
        (noted.beside, noted.subjects, noted.run_end) = (Some((beside, as_it_is)), subjects, run_end);
        Ok(())
    }

    fn after(&self, package: &Value) {
        let noted = self.noted();
        // Somebody else has changed it, too, and their change is to be looked at.
        let is_ours_alone = noted.beside.as_ref().is_some_and(|(beside, image)| beside.fingerprint(package) == *image);
        if !is_ours_alone {
            return;
        }
        // What CKAN made of the write may look different from what was expected. If that cannot be noted, the
        // fingerprint still stops the loop.
        for subject in noted.subjects.iter().filter(|_| !noted.images.is_empty()) {
            let image = View::whole().fingerprint(&subject.part(package));
            if let Err(error) = self.note(subject, image, noted.run_end.as_ref()) {
                tracing::warn!(worker = self.call.worker, "{error}");
            }
        }
    }
}

/// The id of a dataset.
pub(super) fn id_of(package: &Value) -> &str {
    package["id"].as_str().unwrap_or_default()
}
