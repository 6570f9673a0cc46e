//! The tools of the fault suite prove themselves: what the suite says is worth no more than they are.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

use worker_tests::ledger::Named;
use worker_tests::{Broker, End, Ledger, Line, Mood, Proxy, Seen, Way, Witness, eventually, ledger, witness};

const SOON: Duration = Duration::from_secs(10);

/// Long enough to be sure that nothing comes.
const A_MOMENT: Duration = Duration::from_millis(200);

#[test]
fn the_witness_serves_when_it_is_asked() {
    witness::serve_if_asked();
}

/// Both ends of a connection through a proxy.
struct Pair {
    proxy: Proxy,
    client: TcpStream,
    server: TcpStream,
    listener: TcpListener,
}

impl Pair {
    fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let proxy = Proxy::to(listener.local_addr().unwrap().port());
        let client = TcpStream::connect(("127.0.0.1", proxy.port())).unwrap();
        let server = listener.accept().unwrap().0;
        assert!(eventually(SOON, || proxy.connections() == 1));
        Self { proxy, client, server, listener }
    }
}

/// What arrives, so many bytes; the error, if the connection broke before.
fn arriving(stream: &mut TcpStream, count: usize) -> (String, Option<std::io::ErrorKind>) {
    within(SOON, stream, count)
}

/// What arrives within a time, up to so many bytes.
fn within(time: Duration, stream: &mut TcpStream, max: usize) -> (String, Option<std::io::ErrorKind>) {
    stream.set_read_timeout(Some(time)).unwrap();
    let (mut text, mut byte) = (String::new(), [0]);
    while text.len() < max {
        match stream.read(&mut byte) {
            Ok(0) => return (text, Some(std::io::ErrorKind::UnexpectedEof)),
            Ok(_) => text.push(char::from(byte[0])),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return (text, None),
            Err(error) => return (text, Some(error.kind())),
        }
    }
    (text, None)
}

#[test]
fn what_is_said_through_the_proxy_arrives_and_so_does_an_end_in_good_order() {
    let Pair { proxy, mut client, mut server, .. } = Pair::new();
    client.write_all(b"hello").unwrap();
    assert_eq!(arriving(&mut server, 5), ("hello".to_owned(), None));
    server.write_all(b"good day").unwrap();
    assert_eq!(arriving(&mut client, 8), ("good day".to_owned(), None));
    assert_eq!(proxy.connections(), 1);
    drop(client);
    assert_eq!(arriving(&mut server, 1), (String::new(), Some(std::io::ErrorKind::UnexpectedEof)));
    drop(server);
    assert!(eventually(SOON, || proxy.connections() == 0));
}

#[test]
fn a_black_hole_holds_back_what_passes_later_and_half_open_only_one_direction() {
    let Pair { proxy, mut client, mut server, listener } = Pair::new();
    let check = |line: Line, client: &mut TcpStream, server: &mut TcpStream, expected: [&str; 2]| {
        proxy.set(line);
        // The proxy hears of it a moment later.
        std::thread::sleep(A_MOMENT);
        client.write_all(b"c").unwrap();
        server.write_all(b"s").unwrap();
        let wait_for = |stream: &mut TcpStream, expected: &str| match expected {
            "" => within(A_MOMENT, stream, 1).0,
            _ => arriving(stream, expected.len()).0,
        };
        assert_eq!([wait_for(server, expected[0]), wait_for(client, expected[1])], expected, "{line:?}");
    };
    check(Line::BlackHole, &mut client, &mut server, ["", ""]);
    check(Line::OnlyToClient, &mut client, &mut server, ["", "ss"]);
    check(Line::OnlyToServer, &mut client, &mut server, ["ccc", ""]);
    check(Line::Passes, &mut client, &mut server, ["c", "ss"]);
    proxy.set(Line::BlackHole);
    listener.set_nonblocking(true).unwrap();
    let _late = TcpStream::connect(("127.0.0.1", proxy.port())).expect("it is taken");
    std::thread::sleep(A_MOMENT);
    assert!(listener.accept().is_err(), "the server hears nothing of it");
    proxy.set(Line::Passes);
    assert!(eventually(SOON, || listener.accept().is_ok()), "and later it does");
}

#[test]
fn a_cut_is_seen_by_both_ends_and_a_refused_connection_by_its_client() {
    let Pair { proxy, mut client, mut server, .. } = Pair::new();
    proxy.set(Line::Refuses);
    let mut refused = TcpStream::connect(("127.0.0.1", proxy.port())).unwrap();
    assert!(arriving(&mut refused, 1).1.is_some());
    client.write_all(b"still there").unwrap();
    assert_eq!(arriving(&mut server, 11).0, "still there");
    proxy.cut();
    assert!(arriving(&mut client, 1).1.is_some() && arriving(&mut server, 1).1.is_some());
    assert!(eventually(SOON, || proxy.connections() == 0));
}

#[test]
fn bytes_can_be_counted_off_before_a_cut_and_put_in() {
    let Pair { proxy, mut client, mut server, .. } = Pair::new();
    proxy.inject(Way::ToClient, b"garbage");
    assert_eq!(arriving(&mut client, 7).0, "garbage");
    proxy.cut_after(Way::ToServer, 6);
    client.write_all(b"four").unwrap();
    assert_eq!(arriving(&mut server, 4), ("four".to_owned(), None));
    client.write_all(b"more").unwrap();
    let (text, error) = arriving(&mut server, 9);
    assert!(text.len() <= 2 && error.is_some(), "{text:?} {error:?}");
    assert!(arriving(&mut client, 1).1.is_some());
}

/// Posts to an action, as a host does; the answer with its head.
fn post(witness: &Witness, action: &str, body: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", witness.port()))?;
    stream.set_read_timeout(Some(SOON))?;
    let length = body.len();
    write!(
        stream,
        "POST /api/3/action/{action} HTTP/1.1\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}"
    )?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

#[test]
fn the_witness_writes_down_what_it_is_told_and_answers_as_it_is_told() {
    let witness = Witness::start();
    let mut log = witness.log();
    assert!(log.read().is_empty());
    let told = r#"{"id": "p1", "worker": "actor", "attempt": 2, "ending": "done"}"#;
    let check = |mood: Mood, expected: &[&str]| {
        witness.set(mood);
        let answer = post(&witness, "witness", told).unwrap_or_else(|error| error.to_string());
        for part in expected {
            assert!(answer.contains(part), "{mood:?}: {answer}");
        }
    };
    check(Mood::Well, &["200 OK", r#""success":true"#]);
    check(Mood::Status(503), &["503 ", r#""success":false"#]);
    check(Mood::TooMany(7), &["429 ", "Retry-After: 7\r\n"]);
    check(Mood::Resets, &["reset"]);
    let asked = Instant::now();
    check(Mood::Slow(100), &["200 OK"]);
    assert!(asked.elapsed() >= Duration::from_millis(100));
    let successes: Vec<bool> = log.read().iter().map(Seen::is_success).collect();
    assert_eq!(successes, [true, false, false, false, true]);
    let first = &log.read()[0];
    assert_eq!((first.id.as_str(), first.worker.as_str(), first.attempt), ("p1", "actor", 2));
    witness.set(Mood::Well);
    assert!(post(&witness, "user_show", "{}").unwrap().contains("sysadmin"));
    assert_eq!(log.read().len(), 5, "only what workers told it");
}

#[test]
fn the_publisher_writes_down_what_it_tried_and_what_was_confirmed() {
    let Some(broker) = Broker::shared() else { return };
    let vhost = broker.vhost("ledger");
    let (site, queue) = (vhost.unique("site"), vhost.unique("queue"));
    vhost.declare_old_topology(&site, &queue);
    let dir = tempfile::tempdir().unwrap();
    let mut ledger = Ledger::new(&dir.path().join("ledger"), &[("actor", End::Done)]);
    let message = |number: usize| (format!("p{number}"), format!(r#"{{"payload":{{"id":"p{number}"}}}}"#).into_bytes());
    ledger::publish(&mut ledger, vhost.url(), &site, Named::Half, 120, SOON, message);
    assert_eq!(ledger.confirmed(), 120);
    let messages = vhost.drain(&queue);
    assert_eq!(messages.len(), 120);
    assert_eq!(ledger.id_of(&messages[7].body), Some("p7"));
    assert_eq!(messages.iter().filter(|message| message.properties.message_id().is_some()).count(), 60);
    // Nobody listens there: nothing is confirmed, and the ledger says so.
    vhost.delete_queue(&queue);
    ledger::publish(&mut ledger, vhost.url(), &site, Named::All, 10, A_MOMENT, |number| message(1000 + number));
    assert_eq!(ledger.confirmed(), 120);
    let text = std::fs::read_to_string(dir.path().join("ledger")).unwrap();
    assert!(text.contains("attempt p1000\n") && !text.contains("acknowledged p1000\n"));
}

#[test]
fn what_was_looked_at_is_still_there_and_can_be_looked_at_again() {
    let Some(broker) = Broker::shared() else { return };
    let vhost = broker.vhost("peek");
    for kind in ["classic", "quorum"] {
        let (mut arguments, queue) = (lapin::types::FieldTable::default(), vhost.unique(kind));
        arguments.insert("x-queue-type".into(), lapin::types::AMQPValue::LongString(kind.into()));
        vhost.declare_queue(&queue, arguments);
        vhost.publish("", &queue, ["one", "two", "three"]);
        for _ in 0..5 {
            let bodies: Vec<_> = vhost.peek(&queue).into_iter().map(|message| message.body).collect();
            assert_eq!(bodies, [&b"one"[..], b"two", b"three"], "{kind}");
        }
        assert_eq!(vhost.drain(&queue).len(), 3);
    }
}
