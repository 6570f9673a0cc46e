//! What becomes of posts.

use std::time::Duration;

use ckan_worker_plugin::Class;

use super::*;

fn two_targets() -> Rig {
    Rig::new(&format!("one {ONE}\ntwo {TWO}"))
}

/// The error of the only target, which answers so.
#[track_caller]
fn failure(arrange: impl FnOnce(&Bench)) -> Error {
    let rig = Rig::new(&format!("one {ONE}"));
    arrange(&rig.bench);
    rig.run(published()).unwrap_err()
}

#[test]
fn the_other_targets_are_asked_when_one_fails_and_left_out_when_it_is_tried_again() {
    let rig = two_targets();
    rig.bench.web(ONE).status(500);
    let error = rig.run(published()).unwrap_err();
    assert_eq!((error.class(), error.message()), (Class::Retryable, "one: answered 500"));
    assert_eq!(rig.asked(), [ONE, TWO]);

    assert!(rig.run(published().attempt(2)).is_err());
    assert_eq!(rig.asked(), [ONE, TWO, ONE]);

    rig.bench.web(ONE).status(200);
    assert_eq!(rig.run(published().attempt(3)), done());
    assert_eq!(rig.asked(), [ONE, TWO, ONE, ONE]);
    let ids: std::collections::BTreeSet<String> =
        rig.bench.sent().iter().map(|sent| headers(sent)["webhook-id"].clone()).collect();
    assert_eq!(ids.len(), 2, "each attempt has the same id, and each target one of its own");
}

#[test]
fn a_dry_run_posts_nothing_and_says_what_it_would() {
    let rig = two_targets();
    assert_eq!(rig.run(published().dry_run()), done());
    assert_eq!(rig.asked(), [""; 0]);
    assert_eq!(rig.bench.logged()[0], "dry run: one would get org.ckan.package.changed");
}

#[test]
fn what_is_said_again_after_it_went_well_is_posted_again() {
    let rig = two_targets();
    assert_eq!(rig.run(published()), done());
    assert_eq!(rig.run(published()), done());
    assert_eq!(rig.asked(), [ONE, TWO, ONE, TWO]);
}

#[test]
fn a_target_that_refuses_does_not_hold_up_the_others_and_is_told_at_the_end() {
    let rig = two_targets();
    rig.bench.web(ONE).status(410);
    rig.bench.web(TWO).status(503);
    let error = rig.run(published()).unwrap_err();
    assert_eq!((error.class(), error.code()), (Class::Retryable, "webhook.several"));
    assert_eq!(
        error.message(),
        "one: answered 410: it is gone for good; take it out of the targets; two: answered 503"
    );

    rig.bench.web(TWO).status(200);
    let error = rig.run(published().attempt(2)).unwrap_err();
    assert_eq!((error.class(), error.code()), (Class::Permanent, "webhook.status"));
}

#[test]
fn the_longest_time_that_a_target_asks_for_is_waited() {
    let rig = two_targets();
    rig.bench.web(ONE).status(429).retry_after(Duration::from_secs(30));
    rig.bench.web(TWO).status(503).retry_after(Duration::from_secs(90));
    let error = rig.run(published()).unwrap_err();
    assert_eq!((error.class(), error.delay()), (Class::Retryable, Some(Duration::from_secs(90))));
}

#[test]
fn a_redirect_is_not_taken_for_a_delivery() {
    let error = failure(|bench| drop(bench.web(ONE).status(307)));
    assert_eq!(error.class(), Class::Permanent);
    assert_eq!(error.message(), "one: answered 307: redirects are not followed; set the final address");
}

#[test]
fn an_address_that_the_host_refuses_is_a_dead_letter() {
    let refusal = || Error::permanent("URL invalid: forbidden address").with_code("fetch.forbidden-address");
    let error = failure(|bench| drop(bench.web(ONE).fails(refusal())));
    assert_eq!((error.class(), error.code()), (Class::Permanent, "fetch.forbidden-address"));
    assert_eq!(error.message(), "one: URL invalid: forbidden address");
}

#[test]
fn a_network_that_fails_is_tried_again() {
    for code in ["fetch.connect", "fetch.timeout", "fetch.read", "fetch.host-busy"] {
        let error = failure(|bench| drop(bench.web(ONE).fails(Error::retryable("no").with_code(code))));
        assert_eq!((error.class(), error.code()), (Class::Retryable, code));
    }
}

#[test]
fn a_run_that_is_taken_back_is_over_and_what_arrived_is_not_posted_again() {
    let rig = two_targets();
    rig.bench.web(TWO).is_cancelled();
    assert_eq!(rig.run(published()).unwrap_err().class(), Class::Cancelled);
    assert_eq!(rig.asked(), [ONE, TWO]);

    let bench = Bench::default();
    bench.web(TWO).status(200);
    assert_eq!(bench.consume(&rig.webhook, published()), done());
    assert_eq!(bench.fetched(), [TWO]);
}

#[test]
fn a_run_that_is_taken_back_while_ckan_is_asked_is_no_refusal() {
    let rig = two_targets();
    rig.bench.ckan().fail("package_show", Error::cancelled());
    assert_eq!(rig.run(resource_changed()).unwrap_err().class(), Class::Cancelled);
}

#[test]
fn s14_no_token_and_s16_no_address_and_no_secret_is_said_anywhere() {
    let url = "http://one.example/canary-path?token=canary-token";
    let rig = Rig::new(&format!("one {url}\ntwo {TWO}"));
    let leaky = format!("no connection to {url} (canary-path, /canary-path, token=canary-token)");
    for arrange in [
        Box::new(|bench: &Bench| drop(bench.web(url))) as Box<dyn Fn(&Bench)>,
        Box::new(|bench| drop(bench.web(url).status(404))),
        Box::new(|bench| drop(bench.web(url).fails(Error::retryable(leaky.clone()).with_code("fetch.connect")))),
    ] {
        arrange(&rig.bench);
        let said = match rig.run(published()) {
            Ok(_) => String::new(),
            Err(error) => format!("{error} {error:?} {}", error.detail()),
        };
        let said = format!("{said} {:?}", rig.bench.log());
        for canary in [url, "/canary-path", "canary-token", SECRET] {
            assert!(!said.contains(canary), "{canary} is in {said}");
        }
    }
    for sent in rig.bench.sent() {
        let names = headers(&sent).into_keys().collect::<Vec<_>>();
        assert!(
            !names.iter().any(|name| name.contains("auth") || name.contains("key") || name == "cookie"),
            "{names:?}"
        );
        assert!(!String::from_utf8_lossy(&sent.body).contains("canary"));
    }
}

#[test]
fn s17_what_a_server_says_is_logged_as_one_line() {
    let leaky = "evil\r\nlevel=ERROR\u{1b}[2J\u{202e}";
    let rig = Rig::new(&format!("one {ONE}"));
    rig.bench.web(ONE).fails(Error::retryable(leaky).with_code("fetch.tls"));
    let error = rig.run(published()).unwrap_err();
    let said = format!("{}{:?}", error.message(), rig.bench.logged());
    assert!(!error.message().chars().any(char::is_control), "{said}");
    assert!(rig.bench.logged().iter().all(|line| !line.chars().any(char::is_control)), "{said}");
}
