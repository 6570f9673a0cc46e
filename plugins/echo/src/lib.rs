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

#[cfg(test)]
mod tests {
    use super::*;
    use ckan_worker_testing::{Bench, Event};

    #[test]
    fn echo_logs_the_routing_key_the_operation_and_the_payload() {
        let bench = Bench::default();
        bench.consume(&Echo, Event::new("Package", "changed", r#"{"id": "p1"}"#)).unwrap();
        assert_eq!(bench.logged(), [r#"Package changed {"id": "p1"}"#]);
    }
}
