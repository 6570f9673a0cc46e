//! Servers that take their time, on purpose or not: S10.

use std::time::Duration;

use ckan_worker::services::fetch::Settings;

use crate::lab::{Answer, Lab};
use crate::rig::{Rig, check, home, trace};

const HEAD: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 900000\r\n\r\nhalf";
const SHORT: Duration = Duration::from_millis(300);

fn impatient() -> Settings {
    let mut settings = home();
    settings.deadlines.first_byte = SHORT;
    settings
}

#[tokio::test]
async fn s10_a_head_that_never_ends_is_not_waited_for() {
    let rig = Rig::of(impatient());
    let beginning = b"HTTP/1.1 200 OK\r\nX-Slow: ".to_vec();
    let drips = Lab::new(move |_| Answer::ThenSlowly(beginning.clone(), b"x".to_vec(), Duration::from_millis(5))).await;
    check(&rig.failure(&drips.url("/")).await, "fetch.timeout retry: Connection timed out after 0.3s: no answer came");
    let silent = Lab::new(|_| Answer::ThenSilence(Vec::new())).await;
    let failure = rig.failure(&silent.url("/")).await;
    check(&failure, "fetch.timeout retry: Connection timed out after 0.3s: no answer came");
    assert_eq!((trace(&failure).url, trace(&failure).status), (silent.url("/"), None));
}

#[tokio::test]
async fn s10_endless_headers_and_interim_answers_end() {
    let rig = Rig::of(impatient());
    for (head, again) in [
        ("HTTP/1.1 200 OK\r\n", "X-More: x\r\n"),
        ("HTTP/1.1 200 OK\r\nX-More: ", "xxxxxxxxxxxxxxxx"),
        ("", "HTTP/1.1 100 Continue\r\n\r\n"),
        ("", "HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n"),
    ] {
        let (head, again) = (head.as_bytes().to_vec(), again.as_bytes().to_vec());
        let lab = Lab::new(move |_| Answer::ThenForEver(head.clone(), again.clone())).await;
        let failure = rig.failure(&lab.url("/")).await;
        assert!(matches!(failure.code, "fetch.timeout" | "fetch.read"), "{failure:?}");
    }
}

#[tokio::test]
async fn s10_a_megabyte_of_headers_or_ten_thousand_are_no_answer() {
    let rig = Rig::new();
    let long = format!("X-Long: {}\r\n", "x".repeat(1_000_000));
    let many = "X-More: x\r\n".repeat(10_000);
    for headers in [long, many] {
        let lab = Lab::always(format!("HTTP/1.1 200 OK\r\n{headers}Content-Length: 1\r\n\r\nx")).await;
        check(&rig.failure(&lab.url("/")).await, "fetch.read retry: the answer cannot be read");
    }
    let bearable = "X-More: x\r\n".repeat(90);
    let lab = Lab::always(format!("HTTP/1.1 200 OK\r\n{bearable}Content-Length: 1\r\n\r\nx")).await;
    assert!(rig.fetch(&lab.url("/")).await.is_ok());
}

#[tokio::test]
async fn s10_content_that_drips_is_given_up() {
    let mut settings = home();
    settings.deadlines.rate_min = 10_000;
    settings.deadlines.rate_grace = SHORT;
    let rig = Rig::of(settings);
    let lab = Lab::new(|_| Answer::ThenSlowly(HEAD.to_vec(), b"x".to_vec(), Duration::from_millis(5))).await;
    let failure = rig.failure(&lab.url("/")).await;
    check(&failure, "fetch.timeout retry: Connection timed out after ");
    assert!(failure.message.ends_with(": fewer than 10000 bytes a second came"), "{}", failure.message);
    assert_eq!(trace(&failure).status, Some(200));
}

#[tokio::test]
async fn s10_content_that_stands_still_is_given_up() {
    let mut settings = home();
    settings.deadlines.idle = SHORT;
    let rig = Rig::of(settings);
    let lab = Lab::new(|_| Answer::ThenSilence(HEAD.to_vec())).await;
    let expected = "fetch.timeout retry: Connection timed out after 0.3s: nothing more came after 4 bytes";
    check(&rig.failure(&lab.url("/")).await, expected);
}

#[tokio::test]
async fn s10_the_time_in_all_holds_whatever_comes() {
    let mut settings = home();
    settings.deadlines.total = SHORT;
    let rig = Rig::of(settings);
    let lab = Lab::new(|_| Answer::ThenSlowly(HEAD.to_vec(), b"x".to_vec(), Duration::from_millis(5))).await;
    check(&rig.failure(&lab.url("/")).await, "fetch.timeout retry: Connection timed out after 0.3s");

    // A worker may be more impatient than the host, not more patient.
    let mut request = crate::rig::get(&lab.url("/"));
    request.timeout_ms = Some(50);
    check(&rig.send(&request).await.unwrap_err(), "fetch.timeout retry: Connection timed out after 0.05s");
    request.timeout_ms = Some(u64::MAX);
    check(&rig.send(&request).await.unwrap_err(), "fetch.timeout retry: Connection timed out after 0.3s");
}
