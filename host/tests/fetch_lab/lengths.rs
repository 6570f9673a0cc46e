//! Content that is not as long as it says, or has no end: S9.

use crate::lab::{Answer, Lab, http};
use crate::rig::{Rig, check, files, get, trace};

const MEGABYTE: u64 = 1_000_000;

#[tokio::test]
async fn s09_a_length_that_is_a_lie_is_found_out() {
    let rig = Rig::new();
    let check_head = async |head: &str, expected: &str| {
        let lab = Lab::always(format!("HTTP/1.1 200 OK\r\n{head}\r\n\r\nhalf a file")).await;
        check(&rig.failure(&lab.url("/")).await, expected);
    };
    check_head("Content-Length: 900", "fetch.read retry: the connection broke off after 11 bytes").await;
    check_head("Content-Length: -5", "fetch.read retry").await;
    check_head("Content-Length: 11\r\nContent-Length: 4", "fetch.read retry").await;
    check_head("Content-Length: 99999999999999999999999", "fetch.read retry").await;
    check_head("Content-Length: 18446744073709551615", "fetch.read retry").await;
    check_head("Content-Length: 9223372036854775807", "fetch.too-large permanent: Content-length 9223372036854775807")
        .await;
    check_head("Transfer-Encoding: chunked\r\nContent-Length: 4", "fetch.read retry").await;
}

#[tokio::test]
async fn s09_what_comes_beyond_the_length_is_no_part_of_it() {
    let lab = Lab::always("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nhalf a file".to_owned()).await;
    let rig = Rig::new();
    let fetched = rig.fetch(&lab.url("/")).await.unwrap();
    assert_eq!(std::fs::read_to_string(&fetched.path).unwrap(), "half");
}

#[tokio::test]
async fn s09_chunks_that_cannot_be_are_no_content() {
    let rig = Rig::new();
    for chunk in ["FFFFFFFFFFFFFFFFF\r\nx", "-1\r\nx", "zz\r\nx", "5\r\nhalf", "\r\n\r\n"] {
        let answer = format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{chunk}");
        let lab = Lab::always(answer).await;
        check(&rig.failure(&lab.url("/")).await, "fetch.read retry");
    }
}

#[tokio::test]
async fn s09_content_without_end_is_cut_at_the_limit() {
    let plain = (b"HTTP/1.1 200 OK\r\n\r\n".to_vec(), vec![b'x'; 65_536]);
    let chunk = [b"10000\r\n".to_vec(), vec![b'x'; 65_536], b"\r\n".to_vec()].concat();
    let chunked = (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec(), chunk);
    for (head, again) in [plain, chunked] {
        let lab = Lab::new(move |_| Answer::ThenForEver(head.clone(), again.clone())).await;
        let failure = Rig::new().failure(&lab.url("/")).await;
        check(&failure, "fetch.too-large permanent: Content-length exceeds maximum allowed value 1000000, found while");
        assert!(failure.detail.contains(r#""bytes":1000001,"#), "{}", failure.detail);
        assert_eq!(trace(&failure).status, Some(200));
    }
}

#[tokio::test]
async fn s09_a_body_of_200_megabytes_is_cut_at_50() {
    let (piece, pieces) = (MEGABYTE / 10, 2_000);
    let lab = Lab::new(move |_| {
        let head = format!("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n{}", "x".repeat(1_000));
        Answer::Pieces(head.into_bytes(), vec![b'x'; usize::try_from(piece).unwrap()], pieces)
    })
    .await;
    let rig = Rig::new();
    let failure = rig.fetcher.fetch(&lab.url("/"), 50 * MEGABYTE, rig.dir.path()).await.unwrap_err();
    check(&failure, "fetch.too-large permanent");
    assert!(failure.detail.contains(r#""bytes":50000001,"#), "{}", failure.detail);
    assert_eq!(files(rig.dir.path()), 0);
    // The other side noticed: what is left of its body is what the buffers between us hold.
    assert!(lab.bytes_of_pieces() < 80 * MEGABYTE, "{}", lab.bytes_of_pieces());
    assert_eq!(rig.counted().outcome("too-large"), 1);
    assert_eq!(rig.counted().bytes, 0);
}

#[tokio::test]
async fn s09_of_an_endless_body_the_beginning_can_be_taken() {
    let head = b"HTTP/1.1 200 OK\r\n\r\n".to_vec();
    let lab = Lab::new(move |_| Answer::ThenForEver(head.clone(), b"0123456789".to_vec())).await;
    let rig = Rig::new();
    let mut request = get(&lab.url("/"));
    request.first_bytes = Some(25);
    let body = rig.send(&request).await.unwrap().body.unwrap();
    assert_eq!(std::fs::read_to_string(&body.path).unwrap(), "0123456789012345678901234");
    assert!(!body.is_whole);
}

#[tokio::test]
async fn s09_the_limit_itself_is_no_lie() {
    let lab = Lab::always(http("200 OK", &[], &"x".repeat(1_000))).await;
    let rig = Rig::new();
    let mut request = get(&lab.url("/"));
    request.bytes_max = 1_000;
    assert!(rig.send(&request).await.unwrap().body.unwrap().is_whole);
    request.bytes_max = 999;
    check(&rig.send(&request).await.unwrap_err(), "fetch.too-large permanent: Content-length 1000 exceeds maximum");
    assert_eq!(files(rig.dir.path()), 1);
}
