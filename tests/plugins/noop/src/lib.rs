//! Does nothing with each notification, and says in a file how many there were and how long they took to come.
#![allow(unsafe_code, reason = "the symbols that `export_worker!` exports")]

use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use ckan_worker_plugin::prelude::*;

#[path = "../../../src/usage.rs"]
pub mod usage;

#[derive(Deserialize)]
#[serde(crate = "ckan_worker_plugin::serde")]
struct Settings {
    /// Where to say it.
    report: PathBuf,
}

struct Noop {
    report: PathBuf,
    made: Instant,
    count: AtomicU64,
    first_us: AtomicU64,
    last_us: AtomicU64,
}

impl Worker for Noop {
    type Config = Settings;

    fn create(settings: Settings, _: &Host<'_>) -> Result<Self> {
        Ok(Self {
            report: settings.report,
            made: Instant::now(),
            count: AtomicU64::new(0),
            first_us: AtomicU64::new(0),
            last_us: AtomicU64::new(0),
        })
    }

    fn consume(&self, _: &Notification<'_>, _: &Host<'_>) -> Result<Outcome> {
        let now = u64::try_from(self.made.elapsed().as_micros()).unwrap_or(u64::MAX);
        if self.count.fetch_add(1, Ordering::Relaxed) == 0 {
            self.first_us.store(now, Ordering::Relaxed);
        }
        self.last_us.store(now, Ordering::Relaxed);
        Ok(Outcome::Done)
    }
}

impl Drop for Noop {
    fn drop(&mut self) {
        let usage = usage::Usage::of_this_process();
        let took_us = self.last_us.load(Ordering::Relaxed).saturating_sub(self.first_us.load(Ordering::Relaxed));
        let report = json!({
            "count": self.count.load(Ordering::Relaxed),
            "took_us": took_us,
            "cpu_us": usage.cpu_us,
            "rss_max_bytes": usage.rss_max_bytes,
        });
        // The bench says that there is no report.
        let _ = fs::write(&self.report, report.to_string());
    }
}

export_worker!(Noop, name: "noop");
