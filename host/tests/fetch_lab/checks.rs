//! Whether an address answers: by HEAD, then by a GET of one byte, then by a whole GET.

use std::time::Duration;

use ckan_worker_plugin::{Method, Response};

use crate::lab::{Answer, Lab, http};
use crate::rig::{Rig, by, check, files, home, trace};

/// A server that answers each kind of request differently.
async fn server(head: Answer, part: Answer, whole: Answer) -> Lab {
    let answers = std::sync::Mutex::new((Some(head), Some(part), Some(whole)));
    Lab::asked(move |request| {
        let mut answers = answers.lock().unwrap();
        let is_part = request.to_lowercase().contains("\r\nrange: bytes=0-0\r\n");
        let answer = match (request.starts_with("HEAD "), is_part) {
            (true, _) => answers.0.take(),
            (false, true) => answers.1.take(),
            (false, false) => answers.2.take(),
        };
        answer.unwrap()
    })
    .await
}

fn says(status: &str) -> Answer {
    Answer::Bytes(http(status, &[], "").into_bytes())
}

fn never() -> Answer {
    Answer::Bytes(Vec::new())
}

async fn checked(lab: &Lab) -> Response {
    let rig = Rig::new();
    let response = rig.send(&by(Method::Check, &lab.url("/"))).await.unwrap();
    assert_eq!((response.body.as_ref(), files(rig.dir.path())), (None, 0));
    response
}

/// How often the server was asked.
async fn asked(head: Answer, part: Answer, whole: Answer) -> (u16, usize) {
    let lab = server(head, part, whole).await;
    let status = checked(&lab).await.status();
    (status, lab.requests().len())
}

#[tokio::test]
async fn a_head_that_is_answered_is_enough() {
    assert_eq!(asked(says("200 OK"), never(), never()).await, (200, 1));
}

#[tokio::test]
async fn a_head_that_is_refused_or_broken_off_is_followed_by_a_get_of_one_byte() {
    for head in ["403 Forbidden", "404 Not Found", "405 Method Not Allowed", "500 Oops", "501 Not Implemented"] {
        assert_eq!(asked(says(head), says("206 Partial Content"), never()).await, (206, 2), "{head}");
    }
    assert_eq!(asked(never(), says("200 OK"), never()).await, (200, 2));
}

#[tokio::test]
async fn a_head_that_is_answered_by_a_short_page_is_not_believed() {
    let page = || Answer::Bytes(b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 90\r\n\r\n".to_vec());
    assert_eq!(asked(page(), says("206 Partial Content"), never()).await, (206, 2));
    let lab = server(page(), says("404 Not Found"), never()).await;
    let failure = Rig::new().send(&by(Method::Check, &lab.url("/"))).await.unwrap_err();
    check(&failure, "fetch.status permanent: Server reported status error: 404 Not Found");
    let long = Answer::Bytes(b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 9000\r\n\r\n".to_vec());
    assert_eq!(asked(long, never(), never()).await, (200, 1));
}

#[tokio::test]
async fn a_head_that_is_not_answered_is_followed_by_a_get() {
    let lab = server(Answer::ThenSilence(Vec::new()), says("206 Partial Content"), never()).await;
    let mut impatient = home();
    impatient.deadlines.first_byte = Duration::from_secs(2);
    let response = Rig::of(impatient).send(&by(Method::Check, &lab.url("/"))).await.unwrap();
    assert_eq!((response.status(), lab.requests().len()), (206, 2));
    assert!(response.trace.duration_ms >= 2_000, "{}", response.trace.duration_ms);
}

#[tokio::test]
async fn parts_that_are_refused_are_followed_by_a_whole_get_of_which_nothing_is_kept() {
    let endless = || Answer::ThenForEver(b"HTTP/1.1 200 OK\r\n\r\n".to_vec(), b"x".repeat(1_000));
    for part in ["416 Range Not Satisfiable", "400 Bad Request", "501 Not Implemented"] {
        assert_eq!(asked(says("405 Method Not Allowed"), says(part), endless()).await, (200, 3), "{part}");
    }
    assert_eq!(asked(never(), never(), endless()).await, (200, 3));
    // A server that does not know parts sends the whole: its head is enough.
    assert_eq!(asked(says("405 Method Not Allowed"), endless(), never()).await, (200, 2));
}

#[tokio::test]
async fn what_is_gone_is_gone_after_two_questions() {
    let lab = server(says("404 Not Found"), says("410 Gone"), never()).await;
    let failure = Rig::new().send(&by(Method::Check, &lab.url("/"))).await.unwrap_err();
    check(&failure, "fetch.status permanent: Server reported status error: 410 Gone");
    assert_eq!((trace(&failure).status, lab.requests().len()), (Some(410), 2));
}

#[tokio::test]
async fn a_server_that_wants_to_be_left_alone_is_not_asked_twice() {
    let busy = http("429 Too Many Requests", &["Retry-After: 60"], "");
    let lab = server(Answer::Bytes(busy.into_bytes()), never(), never()).await;
    let failure = Rig::new().send(&by(Method::Check, &lab.url("/"))).await.unwrap_err();
    check(&failure, "fetch.status retry: Server reported status error: 429 Too Many Requests");
    assert_eq!((failure.retry_after, lab.requests().len()), (Some(Duration::from_secs(60)), 1));
}

#[tokio::test]
async fn the_way_that_is_told_is_that_of_the_last_question() {
    let lab = Lab::asked(|request| {
        let (method, path) = (request.split(' ').next().unwrap(), request.split(' ').nth(1).unwrap());
        let answer = match (method, path) {
            (_, "/") => http("301 Moved Permanently", &["Location: /here"], ""),
            ("HEAD", _) => http("405 Method Not Allowed", &[], ""),
            _ => http("206 Partial Content", &["Content-Range: bytes 0-0/9"], "x"),
        };
        Answer::Bytes(answer.into_bytes())
    })
    .await;
    let response = checked(&lab).await;
    assert_eq!((response.trace.redirects.len(), response.trace.url), (1, lab.url("/here")));
    assert_eq!(lab.requests().len(), 4);
}
