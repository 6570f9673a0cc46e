//! One look at one resource: find its file, judge it, tell CKAN, take it down.

use std::time::Duration;

use ckan_worker_plugin::prelude::*;
use jiff::Timestamp;

use crate::Qa;
use crate::dataset::{Dataset, Resource, is_id};
use crate::record::{Record, basis, remembered, resource_key};
use crate::report;
use crate::score::{Evidence, Rule, judge};
use crate::sniff::sniff;
use crate::source::Obtained;

/// What came of a look.
pub enum Visit {
    /// What it rests on is what it was.
    Unchanged(Record),
    /// This is new.
    Scored(Record),
    /// The server asked to come back after this time; the record is as it was, if there is one.
    Postponed(Option<Record>, Duration),
    /// The resource's id cannot be a key.
    Refused,
}

impl Qa {
    /// Looks at a resource, if anything has changed that its score rests on, and sees that CKAN knows.
    ///
    /// # Errors
    /// Those of the disk and of the host; a broken link is a result.
    pub fn visit(&self, dataset: &Dataset, resource: &Resource, is_open: bool, host: &Host<'_>) -> Result<Visit> {
        if !is_id(&resource.id) {
            report::not_scored(resource, "refused", "its id is neither a UUID nor a name", host);
            return Ok(Visit::Refused);
        }
        let before: Option<Record> = remembered(&resource_key(&resource.id), host)?;
        let kept = self.source.kept(&resource.id)?;
        let basis = basis(resource, kept.as_ref(), is_open, &self.settings);
        if let Some(before) = before.clone().filter(|before| before.basis == Some(basis)) {
            return Ok(Visit::Unchanged(before));
        }
        let evidence = match self.source.obtain(resource, kept.as_ref(), host)? {
            Obtained::Postponed(error) => {
                report::not_scored(resource, "postponed", error.message(), host);
                return Ok(Visit::Postponed(before, error.delay().unwrap_or_default()));
            }
            Obtained::File(sample) => Evidence::Seen(sniff(&sample, &self.scores)?),
            Obtained::Broken(why) => Evidence::Broken(why),
            Obtained::NotFetched(why) => Evidence::Unseen(why),
        };
        let judgement = judge(&evidence, resource.url(), resource.declared(), is_open, &self.scores);
        // A link may work again without anybody saying so, unless `archive` does.
        let is_told = kept.is_some_and(|kept| kept.is_broken == Some(true));
        let basis = (judgement.rule != Rule::Broken || is_told).then_some(basis);
        let record = Record::of(judgement, &dataset.id, basis, before.as_ref(), Timestamp::now());
        report::scored(resource, &record, host);
        Ok(Visit::Scored(record))
    }
}
