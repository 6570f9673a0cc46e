//! The bench from the side of an author.

use std::path::PathBuf;
use std::sync::Mutex;
use std::time::Duration;

use ckan_worker_plugin::prelude::*;
use ckan_worker_plugin::{Class, Value};
use ckan_worker_testing::{Bench, Event, PACKAGE_ID, RESOURCE_ID, package_changed, resource_changed};

/// Does what its payload says.
#[derive(Default)]
struct Actor {
    last_file: Mutex<PathBuf>,
}

#[derive(Deserialize)]
#[serde(crate = "ckan_worker_plugin::serde")]
struct Settings {
    refuse: Option<String>,
}

impl Worker for Actor {
    type Config = Settings;

    fn create(settings: Settings, _: &Host<'_>) -> Result<Self> {
        match settings.refuse {
            Some(reason) => Err(Error::permanent(reason)),
            None => Ok(Self::default()),
        }
    }

    fn consume(&self, notification: &Notification<'_>, host: &Host<'_>) -> Result<Outcome> {
        match notification.operation() {
            "ids" => {
                host.info(&format!("{} {}", notification.entity_id()?, notification.package_id()?));
                host.debug(&format!("{} {}", notification.attempt(), notification.redelivered()));
            }
            "panic" => panic!("I am told to"),
            "skip" => return Ok(Outcome::skipped("told to")),
            "fetch" => {
                let fetched = host.fetch("http://x/a", 10)?;
                host.info(&format!("{} {} {}", fetched.status, fetched.bytes, &fetched.sha256[..8]));
                *self.last_file.lock().expect("nobody panics with it") = fetched.path;
            }
            "sleep" => {
                for _ in 0..10 {
                    host.sleep(Duration::from_secs(1))?;
                }
            }
            action => {
                host.ckan().action::<Value>(action, notification.json::<Value>()?)?;
            }
        }
        Ok(Outcome::done())
    }
}

fn told(operation: &str) -> Event {
    Event::new("Package", operation, r#"{"id": "p1"}"#)
}

#[test]
fn a_worker_sees_the_ids_the_attempt_and_whether_it_is_redelivered() {
    let bench = Bench::default();
    let event = Event::new("Resource", "ids", r#"{"id": "r1", "package_id": "p1"}"#).attempt(3).redelivered();
    bench.consume(&Actor::default(), event).unwrap();
    let lines: Vec<String> = bench.log().into_iter().map(|line| line.message).collect();
    assert_eq!(lines, ["r1 p1", "3 true"]);
    assert_eq!(bench.logged(), ["r1 p1"]);
}

#[test]
fn what_a_worker_answers_comes_back_over_the_border() {
    let bench = Bench::default();
    let actor = Actor::default();
    assert_eq!(bench.consume(&actor, told("skip")), Ok(Outcome::skipped("told to")));
    let panicked = bench.consume(&actor, told("panic")).unwrap_err();
    assert_eq!((panicked.code(), panicked.message()), ("panic", "I am told to"));
    let malformed = bench.consume(&actor, Event::new("Package", "x", "[")).unwrap_err();
    assert_eq!((malformed.class(), malformed.code()), (Class::Permanent, "payload"));
}

#[test]
fn settings_are_refused_as_the_host_refuses_them() {
    let bench = Bench::default();
    let unknown = bench.create::<Actor>(json!({"refus": "x"})).err().unwrap();
    assert_eq!(unknown.message(), "refus: unknown setting (a similar setting exists: refuse)");
    let refused = bench.create::<Actor>(json!({"refuse": "no disk"})).err().unwrap();
    assert_eq!(refused.message(), "no disk");
    assert!(bench.create::<Actor>(json!({})).is_ok());
}

#[test]
fn a_fetched_file_is_gone_when_the_call_ends() {
    let bench = Bench::default();
    let actor = Actor::default();
    bench.web("http://x/a").body("0123456789");
    bench.consume(&actor, told("fetch")).unwrap();
    assert_eq!(bench.logged(), ["200 10 84d89877"]);
    let file = actor.last_file.lock().unwrap().clone();
    assert!(!file.as_os_str().is_empty() && !file.exists(), "{file:?} is still there");
}

#[test]
fn fetches_fail_as_arranged() {
    let bench = Bench::default();
    let code = |bench: &Bench| bench.consume(&Actor::default(), told("fetch")).unwrap_err().code().to_owned();
    assert_eq!(code(&bench), "fetch.connect");
    bench.web("http://x/a").body("01234567890");
    assert_eq!(code(&bench), "fetch.too-large");
    bench.web("http://x/a").status(404);
    assert_eq!(code(&bench), "fetch.status");
    bench.web("http://x/a").redirect("http://x/a", true);
    assert_eq!(code(&bench), "fetch.redirects");
    bench.web("http://x/a").is_cancelled();
    assert_eq!(code(&bench), "cancelled");
    assert_eq!(bench.fetched().len(), 5);
}

#[test]
fn the_portal_revises_all_or_nothing() {
    let bench = Bench::default();
    bench.ckan().dataset(json!({"id": PACKAGE_ID, "title": "a", "resources": [{"id": RESOURCE_ID, "hash": ""}]}));
    let revise = |update: Value| bench.consume(&Actor::default(), told("package_revise").payload(update.to_string()));
    let key = format!("update__resources__{RESOURCE_ID}");

    revise(json!({"match": {"id": PACKAGE_ID}, key.as_str(): {"hash": "h1"}})).unwrap();
    let lost = revise(json!({"match": {"id": PACKAGE_ID, "title": "b"}, key.as_str(): {"hash": "h2"}})).unwrap_err();
    let unmatched =
        revise(json!({"match": {"id": PACKAGE_ID}, key.as_str(): {"hash": "h3"}, "update__resources__zzzzz": {}}))
            .unwrap_err();

    assert_eq!((lost.code(), unmatched.code()), ("ckan.lost-race", "ckan.validation"));
    assert_eq!(bench.ckan().show(PACKAGE_ID).unwrap()["resources"][0]["hash"], "h1");
    assert_eq!(bench.writes().len(), 3);
}

#[test]
fn ckan_fails_and_answers_as_arranged() {
    let bench = Bench::default();
    let call = |action: &str| bench.consume(&Actor::default(), told(action)).map_err(|error| error.code().to_owned());
    bench.ckan().fail("package_show", Error::retryable("busy").with_code("ckan.unavailable"));
    assert_eq!(call("package_show"), Err("ckan.unavailable".to_owned()));
    assert_eq!(call("package_show"), Err("ckan.not-found".to_owned()));
    bench.ckan().answer("package_show", json!({}));
    assert_eq!(call("package_show"), Ok(Outcome::Done));
    assert_eq!(call("no_such_action"), Err("ckan.bad-request".to_owned()));
    assert_eq!(bench.calls().len(), 4);
}

#[test]
fn what_is_slept_uses_up_the_deadline_and_nobody_waits() {
    let bench = Bench::default();
    bench.deadline(Duration::from_secs(3));
    let cut = bench.consume(&Actor::default(), told("sleep")).unwrap_err();
    assert_eq!(cut.class(), Class::Cancelled);
    assert_eq!(bench.slept().len(), 3);
    bench.cancel();
    assert_eq!(bench.consume(&Actor::default(), resource_changed()).unwrap_err().class(), Class::Cancelled);
    assert_eq!(bench.consume(&Actor::default(), package_changed()).unwrap_err().class(), Class::Cancelled);
}

#[test]
fn what_pages_take_uses_up_the_deadline_and_a_request_may_allow_less() {
    struct Asks;
    impl Worker for Asks {
        type Config = NoSettings;

        fn create(_: NoSettings, _: &Host<'_>) -> Result<Self> {
            Ok(Self)
        }

        fn consume(&self, _: &Notification<'_>, host: &Host<'_>) -> Result<Outcome> {
            let ask = || host.request("http://slow.example/").bytes_max(10);
            ask().send()?;
            let left = host.remaining();
            let late = ask().timeout(Duration::from_secs(1)).send().err().map(|error| error.code().to_owned());
            Ok(Outcome::skipped(format!("{left:?} {late:?} {:?}", host.remaining())))
        }
    }
    let bench = Bench::default();
    bench.web("http://slow.example/").body("x").takes(Duration::from_secs(4));
    bench.deadline(Duration::from_secs(10));
    let outcome = bench.consume(&bench.create::<Asks>(json!({})).unwrap(), package_changed());
    let expected = r#"Some(6s) Some("fetch.timeout") Some(5s)"#;
    assert_eq!(outcome, Ok(Outcome::skipped(expected)));
}
