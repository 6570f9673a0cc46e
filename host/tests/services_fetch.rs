//! What becomes of a fetch, for everything that a stranger's link may lead to.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

mod lab;
mod rig;

use std::sync::Arc;
use std::time::Duration;

use lab::{Answer, Lab, http, nobody};
use rig::{Names, Rig, check, files, home, trace};
use tokio::task::JoinSet;

#[tokio::test]
async fn a_file_arrives_whole_with_its_hash_and_what_was_said_about_it() {
    let body = "colour,number\nred,1\n".repeat(40_000);
    let headers = ["Content-Type: text/csv", "ETag: \"v1\"", "Last-Modified: Thu, 01 Jan 2026 00:00:00 GMT"];
    let lab = Lab::always(http("200 OK", &headers, &body)).await;
    let rig = Rig::new();
    let fetched = rig.fetch(&lab.url("/colours.csv?key=1#top")).await.unwrap();
    assert_eq!(std::fs::read_to_string(&fetched.path).unwrap(), body);
    assert_eq!(fetched.bytes, body.len() as u64);
    // As `sha256sum` says.
    assert_eq!(fetched.sha256, "3de9c7ee3252e746980869036199bc3ea785e61f6676af198516978ac03377d1");
    assert_eq!((fetched.status, fetched.redirects, fetched.permanent_redirect), (200, 0, false));
    assert_eq!(fetched.content_type.as_deref(), Some("text/csv"));
    assert_eq!(fetched.etag.as_deref(), Some("\"v1\""));
    assert_eq!(fetched.last_modified.as_deref(), Some("Thu, 01 Jan 2026 00:00:00 GMT"));
    assert_eq!(fetched.path.parent(), Some(rig.dir.path()));
    let request = lab.requests()[0].to_lowercase();
    assert!(request.starts_with("get /colours.csv?key=1 http/1.1\r\n"), "{request}");
    assert!(request.contains("user-agent: ckan-worker-test\r\n") && request.contains("accept-encoding: identity\r\n"));
    assert!(!request.contains("authorization") && !request.contains("referer"), "{request}");
}

#[tokio::test]
async fn an_empty_file_is_a_file() {
    let lab = Lab::always(http("200 OK", &[], "")).await;
    let fetched = Rig::new().fetch(&lab.url("/")).await.unwrap();
    assert_eq!(fetched.bytes, 0);
    assert_eq!(fetched.sha256, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
}

#[tokio::test]
async fn what_arrives_packed_is_kept_packed() {
    let lab = Lab::always(http("200 OK", &["Content-Encoding: gzip"], "not unpacked")).await;
    assert_eq!(Rig::new().fetch(&lab.url("/")).await.unwrap().bytes, 12);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_files_arrive_side_by_side() {
    let lab = Lab::new(|path| Answer::Bytes(http("200 OK", &[], &path.repeat(50_000)).into_bytes())).await;
    let rig = Arc::new(Rig::new());
    let mut fetches = JoinSet::new();
    for number in 10..30 {
        let (rig, url) = (Arc::clone(&rig), lab.url(&format!("/{number}")));
        fetches.spawn(async move { (number, rig.fetch(&url).await.unwrap()) });
    }
    for (number, fetched) in fetches.join_all().await {
        assert_eq!(std::fs::read_to_string(fetched.path).unwrap(), format!("/{number}").repeat(50_000));
    }
}

async fn moving() -> Lab {
    Lab::new(|path| {
        let moved = |status: &str, to: &str| http(status, &[&format!("Location: {to}")], "moved");
        let answer = match path {
            "/moved" => moved("301 Moved Permanently", "/here"),
            "/twice" => moved("308 Permanent Redirect", "moved"),
            "/mixed" => moved("302 Found", "/moved"),
            "/circle" => moved("302 Found", "/circle2"),
            "/circle2" => moved("302 Found", "/circle"),
            "/nowhere" => http("302 Found", &[], ""),
            "/file" => moved("302 Found", "file:///etc/passwd"),
            "/gopher" => moved("302 Found", "gopher://127.0.0.1/"),
            "/userinfo" => moved("302 Found", "http://me:hunter2@127.0.0.1/"),
            "/private" => moved("302 Found", "http://10.0.0.1/?key=hunter2"),
            "/metadata" => moved("307 Temporary Redirect", "//169.254.169.254/latest/meta-data"),
            "/number" => moved("302 Found", "http://0x7f000002/"),
            "/mapped" => moved("302 Found", "http://[::ffff:127.0.0.1]/"),
            "/name" => moved("302 Found", "http://inside.example/"),
            "/here" => http("200 OK", &[], "here"),
            path => moved("302 Found", &format!("{path}x")),
        };
        Answer::Bytes(answer.into_bytes())
    })
    .await
}

#[tokio::test]
async fn a_moved_file_is_found_and_the_move_is_told() {
    let lab = moving().await;
    let rig = Rig::new();
    for (path, redirects, permanent) in [("/moved", 1, true), ("/twice", 2, true), ("/mixed", 2, false)] {
        let fetched = rig.fetch(&lab.url(path)).await.unwrap();
        assert_eq!(std::fs::read_to_string(&fetched.path).unwrap(), "here");
        assert_eq!((fetched.redirects, fetched.permanent_redirect), (redirects, permanent), "{path}");
        assert_eq!(fetched.url, lab.url("/here"));
    }
}

#[tokio::test]
async fn redirects_end_somewhere() {
    let (lab, rig) = (moving().await, Rig::new());
    let check_path = async |path: &str, expected: &str| check(&rig.failure(&lab.url(path)).await, expected);
    check_path("/circle", "fetch.redirects permanent: Too many redirects: http://127.0.0.1:").await;
    check_path("/endless", "fetch.redirects permanent: Too many redirects: more than 3").await;
    check_path("/nowhere", "fetch.status permanent: Server reported status error: 302 Found").await;
}

#[tokio::test]
async fn every_hop_is_checked_like_the_first_link() {
    let lab = moving().await;
    let rig = Rig::named(home(), Names::all("127.0.0.3"));
    for path in ["/file", "/gopher", "/userinfo"] {
        let failure = rig.failure(&lab.url(path)).await;
        check(&failure, "fetch.invalid-url permanent: http://127.0.0.1:");
        assert!(!format!("{failure:?}").contains("hunter2"), "{failure:?}");
    }
    for path in ["/number", "/mapped", "/name", "/private", "/metadata"] {
        let failure = rig.failure(&lab.url(path)).await;
        check(&failure, "fetch.forbidden-address permanent: URL invalid: forbidden address");
        assert!(!format!("{failure:?}").contains("hunter2"), "{failure:?}");
    }
}

#[tokio::test]
async fn what_is_no_link_to_a_file_is_refused() {
    let rig = Rig::new();
    let check_url = async |url: &str, expected: &str| check(&rig.failure(url).await, expected);
    for url in ["file:///etc/passwd", "ftp://127.0.0.1/", "data:,x", "jar:http://x!/", "dict://127.0.0.1:11211/stat"] {
        check_url(url, "fetch.invalid-url permanent: Invalid url scheme. Please use one of: http, https").await;
    }
    for url in ["", "colours.csv", "HTTP ://127.0.0.1/", "http://", "http://a b/", "http://127.0.0.1:99999/"] {
        check_url(url, "fetch.invalid-url permanent: URL parsing failure").await;
    }
    for url in ["http://good@127.0.0.1/", "http://me:hunter2@127.0.0.1/", r"http://a\@127.0.0.1/"] {
        check_url(url, "fetch.invalid-url permanent: URL parsing failure").await;
    }
    let failure = rig.failure("http://me:hunter2@[nonsense/?key=hunter2").await;
    assert!(!format!("{failure:?}").contains("hunter2"), "{failure:?}");
    check_url(&format!("http://127.0.0.1/{}", "x".repeat(9_000)), "fetch.invalid-url permanent").await;
}

#[tokio::test]
async fn an_error_status_is_told_as_such() {
    let check_status = async |status: &'static str, passing: &str| {
        let lab = Lab::always(http(status, &["Retry-After: 7"], "sorry")).await;
        let failure = Rig::new().failure(&lab.url("/")).await;
        check(&failure, &format!("fetch.status {passing}: Server reported status error: {status}"));
        assert_eq!(trace(&failure).status, status[..3].parse().ok());
        assert_eq!(failure.retry_after, (passing == "retry").then_some(Duration::from_secs(7)));
    };
    for status in ["400 Bad Request", "401 Unauthorized", "403 Forbidden", "404 Not Found", "410 Gone"] {
        check_status(status, "permanent").await;
    }
    for status in ["408 Request Timeout", "425 Too Early", "429 Too Many Requests", "500 Internal Server Error"] {
        check_status(status, "retry").await;
    }
    check_status("503 Service Unavailable", "retry").await;
}

#[tokio::test]
async fn a_file_that_says_it_is_too_large_is_not_read() {
    let head = b"HTTP/1.1 200 OK\r\nContent-Length: 1000001\r\n\r\n".to_vec();
    let lab = Lab::new(move |_| Answer::ThenSilence(head.clone())).await;
    let failure = Rig::new().failure(&lab.url("/")).await;
    check(&failure, "fetch.too-large permanent: Content-length 1000001 exceeds maximum allowed value 1000000");
    assert!(failure.detail.contains(r#""bytes":1000001,"bytes_max":1000000,"#), "{}", failure.detail);
    assert_eq!(trace(&failure).url, lab.url("/"));
}

#[tokio::test]
async fn a_file_without_end_is_cut_off() {
    let plain = (b"HTTP/1.1 200 OK\r\n\r\n".to_vec(), vec![b'x'; 10_000]);
    let chunk = [b"2710\r\n".to_vec(), vec![b'x'; 10_000], b"\r\n".to_vec()].concat();
    let chunked = (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec(), chunk);
    for (head, again) in [plain, chunked] {
        let lab = Lab::new(move |_| Answer::ThenForEver(head.clone(), again.clone())).await;
        check(&Rig::new().failure(&lab.url("/")).await, "fetch.too-large permanent: Content-length exceeds");
    }
}

#[tokio::test]
async fn a_file_may_be_exactly_as_large_as_the_limit() {
    let lab = Lab::always(format!("HTTP/1.1 200 OK\r\n\r\n{}", "x".repeat(1000))).await;
    let rig = Rig::new();
    assert!(rig.fetcher.fetch(&lab.url("/"), 1000, rig.dir.path()).await.is_ok());
    assert_eq!(rig.fetcher.fetch(&lab.url("/"), 999, rig.dir.path()).await.unwrap_err().code, "fetch.too-large");
    assert_eq!(files(rig.dir.path()), 1);
}

#[tokio::test]
async fn a_server_that_takes_too_long_is_given_up() {
    let mut impatient = home();
    impatient.deadlines.total = Duration::from_millis(200);
    let rig = Rig::of(impatient);
    for beginning in ["", "HTTP/1.1 200 OK\r\nX-Slow: ", "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf"] {
        let lab = Lab::new(move |_| Answer::ThenSilence(beginning.as_bytes().to_vec())).await;
        check(&rig.failure(&lab.url("/")).await, "fetch.timeout retry: Connection timed out after 0.2s");
    }
}

#[tokio::test]
async fn a_server_that_fails_is_told_as_such() {
    let rig = Rig::new();
    let check_answer = async |answer: &str, expected: &str| {
        let lab = Lab::always(answer.to_owned()).await;
        check(&rig.failure(&lab.url("/")).await, expected);
    };
    check_answer("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf", "fetch.read retry: the connection broke off")
        .await;
    check_answer("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", "fetch.read retry").await;
    check_answer("HTTP/1.1 200 OK\r\nContent-Length: 4\r\nContent-Length: 5\r\n\r\nhalf", "fetch.read retry").await;
    check_answer("SSH-2.0-OpenSSH_9.2\r\n", "fetch.read retry: the answer cannot be read").await;
    check_answer("", "fetch.read retry: the answer cannot be read").await;

    let (_held, url) = nobody();
    check(&rig.failure(&url).await, "fetch.connect retry: Connection error: Connection refused");
}

#[tokio::test]
async fn a_port_without_tls_is_told_as_such() {
    let lab = Lab::always(http("400 Bad Request", &[], "")).await;
    let failure = Rig::new().failure(&format!("https://{}/", lab.address)).await;
    check(&failure, "fetch.tls retry: TLS error: the server does not speak TLS on this port");
}

#[tokio::test]
async fn a_certificate_that_nobody_vouches_for_is_told_as_such() {
    let lab = lab::with_own_certificate("files.example").await;
    let failure = Rig::new().failure(&format!("https://{}/", lab.address)).await;
    check(&failure, "fetch.tls permanent: TLS error: the certificate ");
    assert_eq!(lab.requests(), [""; 0]);
}

#[tokio::test]
async fn a_directory_that_cannot_be_written_to_is_told_as_such() {
    let lab = Lab::always(http("200 OK", &[], "x")).await;
    let rig = Rig::new();
    let failure = rig.fetcher.fetch(&lab.url("/"), 10, &rig.dir.path().join("missing")).await.unwrap_err();
    check(&failure, "fetch.disk retry: cannot write to ");
}

#[tokio::test]
async fn a_fetch_that_is_given_up_leaves_no_file() {
    let head = b"HTTP/1.1 200 OK\r\nContent-Length: 600000\r\n\r\n".to_vec();
    let half = [head, vec![b'x'; 300_000]].concat();
    let lab = Lab::new(move |_| Answer::ThenSilence(half.clone())).await;
    let rig = Rig::new();
    let url = lab.url("/");
    let until = async |count: usize| {
        while files(rig.dir.path()) != count {
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        answer = rig.fetch(&url) => panic!("{answer:?}"),
        () = until(1) => {}
    }
    tokio::time::timeout(Duration::from_secs(10), until(0)).await.expect("the file is deleted");
}
