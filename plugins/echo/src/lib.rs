#![doc = include_str!("../README.md")]
#![allow(unsafe_code, reason = "the symbols that `export_worker!` exports")]

use ckan_worker_plugin::prelude::*;

struct Echo;

impl Worker for Echo {
    type Config = NoSettings;

    fn create(_: NoSettings, _: &Host<'_>) -> Result<Self> {
        Ok(Self)
    }

    fn consume(&self, notification: &Notification<'_>, host: &Host<'_>) -> Result<Outcome> {
        let payload = String::from_utf8_lossy(notification.payload());
        host.info(&format!("{} {} {payload}", notification.routing_key(), notification.operation()));
        Ok(Outcome::done())
    }
}

export_worker!(Echo);
