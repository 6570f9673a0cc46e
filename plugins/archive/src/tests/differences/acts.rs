//! What a case does with the worker.

use super::*;

/// What becomes of a resource with this address.
pub(super) fn at(url: &str, arrange: impl FnOnce(&Rig)) -> String {
    let rig = Rig::new(json!([resource(url)]));
    arrange(&rig);
    rig.run().unwrap();
    said(&rig)
}

pub(super) fn after(arrange: impl FnOnce(ckan_worker_testing::Page<'_>)) -> String {
    at(URL, |rig| arrange(rig.bench.web(URL)))
}

pub(super) fn fails(code: &'static str, message: &str) -> String {
    after(|page| drop(page.fails(Error::retryable(message).with_code(code))))
}

pub(super) fn with_copy() -> Rig {
    let rig = Rig::new(json!([resource(URL)]));
    rig.bench.web(URL).body(CSV).etag("\"e\"");
    rig.run().unwrap();
    rig
}

/// The same portal and memory, with a server that works.
pub(super) fn mended(rig: Rig) -> Rig {
    let (record, dataset) = (rig.record(), rig.dataset());
    let rig = Rig { bench: Bench::default(), ..rig };
    rig.bench.ckan().dataset(dataset);
    rig.bench.remember(&key(RESOURCE_ID), record);
    rig.bench.web(URL).body(CSV).etag("\"e\"");
    rig
}

pub(super) fn again(rig: &Rig) {
    rig.come_due();
    rig.recheck().unwrap();
}

/// After how many hours a copy is looked at again whose content has been the same for so many days.
pub(super) fn wait_after(days: i64) -> u64 {
    let rig = with_copy();
    let changed = jiff::Timestamp::now() - jiff::SignedDuration::from_hours(24 * days);
    rig.edit_record(|record| record["content_changed_at"] = json!(changed));
    again(&rig);
    let wait = rig.bench.rechecks()[PACKAGE_ID].as_secs() + 60;
    let hours = [12, 24, 7 * 24, 30 * 24].into_iter().rev().find(|hours| hours * 3600 <= wait);
    // Up to a fifth is added, so that not all come due at once.
    hours.filter(|hours| wait <= hours * 3600 * 6 / 5 + 60).unwrap_or(wait / 3600)
}

/// What becomes of a resource that was kept, when its dataset is edited so.
pub(super) fn changed(edit: impl FnOnce(&mut Value)) -> String {
    let rig = with_copy();
    rig.edit(edit);
    rig.run().unwrap();
    let is_buried = rig.record()["deleted_at"].is_string();
    let record = if is_buried { "the record says when" } else { "no record" };
    format!("{} files; {record}", rig.files().len())
}

pub(super) fn uploaded(settings: Value) -> String {
    let rig = Rig::set(settings, json!([resource(URL)]));
    rig.set_resource("url_type", json!("upload"));
    rig.bench.web(URL).body(CSV);
    rig.run().unwrap();
    format!("{}; {} copy", said(&rig), rig.files().len().saturating_sub(1))
}

/// What is written beside the copy by a run that fails, for a run that fails remembers nothing else.
pub(super) fn failed_run(arrange: impl FnOnce(&Rig)) -> String {
    let rig = Rig::new(json!([resource(URL)]));
    arrange(&rig);
    rig.run().unwrap_err();
    let record = rig.record_file();
    let text = |field: &str| record[field].as_str().unwrap().to_owned();
    let said = format!("{} {}: {}", record["status_id"], text("status"), text("reason"));
    assert!(record["is_broken"].is_null());
    format!("{said} (not known to be broken); the run fails")
}
