//! The rig proves itself: what the other tests stand on.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::json;
use worker_tests::{Broker, WorkerProcess, built, consumed, eventually, kombu, sha256};

const SOON: Duration = Duration::from_secs(10);

#[test]
fn what_is_published_comes_back_byte_for_byte() {
    let Some(broker) = Broker::shared() else { return };
    let vhost = broker.vhost("bytes");
    let (site, queue) = (vhost.unique("site"), vhost.unique("queue"));
    vhost.declare_old_topology(&site, &queue);
    vhost.publish(&site, "Package", [&b"{}"[..], b"\xff\0 not text", b""]);
    assert_eq!(vhost.ready(&queue), Some(3));
    let messages = vhost.drain(&queue);
    let bodies: Vec<_> = messages.iter().map(|message| message.body.as_slice()).collect();
    assert_eq!(bodies, [&b"{}"[..], b"\xff\0 not text", b""]);
    assert!(messages.iter().all(|message| message.exchange == site && message.routing_key == "Package"));
    assert_eq!(vhost.ready(&queue), Some(0));
    vhost.delete_queue(&queue);
    assert_eq!(vhost.ready(&queue), None);
}

#[test]
fn kombu_publishes_as_in_2011() {
    let Some(broker) = Broker::shared() else { return };
    let vhost = broker.vhost("kombu");
    let (site, queue) = (vhost.unique("site"), vhost.unique("queue"));
    vhost.declare_old_topology(&site, &queue);
    let notification =
        json!({"routing_key": "Package", "operation": "new", "payload": {"id": "p1", "title": "Straße"}});
    kombu::publish(vhost.url(), &site, std::slice::from_ref(&notification));
    let [message] = &vhost.drain(&queue)[..] else { panic!("one message was published") };
    assert_eq!(serde_json::from_slice::<serde_json::Value>(&message.body).unwrap(), notification);
    assert_eq!((message.exchange.as_str(), message.routing_key.as_str()), (site.as_str(), "Package"));
    assert_eq!(message.properties.content_type().as_ref().unwrap().as_str(), "application/json");
    assert_eq!(message.properties.delivery_mode(), &Some(2));
}

#[test]
fn an_operator_can_close_connections_and_stop_the_broker() {
    let Some(broker) = Broker::private() else { return };
    let vhost = broker.vhost("operator");
    let queue = vhost.unique("queue");
    vhost.declare_old_topology(&vhost.unique("site"), &queue);
    vhost.publish("", &queue, ["one", "two"]);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let (connection, _channel) = runtime.block_on(async {
        let connection = lapin::Connection::connect(vhost.url(), lapin::ConnectionProperties::default()).await.unwrap();
        let channel = connection.create_channel().await.unwrap();
        channel.basic_get(queue.as_str().into(), lapin::options::BasicGetOptions::default()).await.unwrap().unwrap();
        (connection, channel)
    });
    assert!(eventually(SOON, || vhost.unacked(&queue) == 1));
    assert_eq!(vhost.close_all_connections("the operator says so"), 1);
    assert!(eventually(SOON, || !connection.status().connected()));
    assert!(eventually(SOON, || vhost.ready(&queue) == Some(2) && vhost.unacked(&queue) == 0));
    broker.stop_app();
    assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| vhost.ready(&queue))).is_err());
    broker.start_app();
    assert_eq!(vhost.ready(&queue), Some(2));
}

#[test]
fn a_private_node_ends_with_its_epmd_when_it_is_dropped() {
    let Some(broker) = Broker::private() else { return };
    let dir = broker.log_dir().unwrap().parent().unwrap().to_owned();
    let home = dir.join("home");
    assert!(living_in(&home).len() >= 2, "the node and its epmd run");
    drop(broker);
    assert!(eventually(SOON, || living_in(&home).is_empty()), "left running: {:?}", living_in(&home));
    assert!(dir.join("log").exists() && !dir.join("data").exists());
}

/// The test that runs in a process of its own, which is then killed; see the next one.
const SCAPEGOAT: &str = "scapegoat_waits_to_be_killed";

#[test]
fn scapegoat_waits_to_be_killed() {
    let Some(place) = std::env::var_os("WORKER_TESTS_SCAPEGOAT") else { return };
    let Some(broker) = Broker::private() else { return };
    let home = broker.log_dir().unwrap().with_file_name("home");
    let mut worker = WorkerProcess::with_config("");
    let mut command = Command::new("sh");
    command.args(["-c", "echo begun; exec sleep 600"]).env("HOME", &home);
    worker.spawn(command);
    worker.wait_for_line("begun", SOON);
    // Renamed into place, so that whoever waits for it finds it whole.
    let part = Path::new(&place).with_extension("part");
    std::fs::write(&part, home.to_str().unwrap()).unwrap();
    std::fs::rename(part, place).unwrap();
    loop {
        std::thread::park();
    }
}

#[test]
fn a_killed_test_leaves_nobody_running() {
    if Broker::shared().is_none() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let place = dir.path().join("home");
    let mut scapegoat = Command::new(std::env::current_exe().unwrap());
    scapegoat.args(["--exact", SCAPEGOAT]).env("WORKER_TESTS_SCAPEGOAT", &place).stdout(std::process::Stdio::null());
    let mut scapegoat = scapegoat.spawn().unwrap();
    let started = eventually(Duration::from_secs(90), || place.exists());
    let before = if started { living_in(&home_in(&place)) } else { Vec::new() };
    scapegoat.kill().unwrap();
    scapegoat.wait().unwrap();
    for name in ["beam.smp", "epmd", "sleep"] {
        assert!(
            before.iter().any(|running| running.trim() == name),
            "{name} ran before the test was killed: {before:?}"
        );
    }
    let home = home_in(&place);
    assert!(eventually(SOON, || living_in(&home).is_empty()), "left running: {:?}", living_in(&home));
}

fn home_in(place: &Path) -> std::path::PathBuf {
    std::fs::read_to_string(place).expect("the scapegoat has written it").into()
}

/// The processes whose `$HOME` is that directory.
fn living_in(home: &Path) -> Vec<String> {
    let wanted = format!("HOME={}", home.display()).into_bytes();
    let processes = std::fs::read_dir("/proc").expect("this is Linux").flatten().filter(|entry| {
        let environment = std::fs::read(entry.path().join("environ")).unwrap_or_default();
        environment.split(|byte| *byte == 0).any(|variable| variable == wanted)
    });
    processes.map(|entry| std::fs::read_to_string(entry.path().join("comm")).unwrap_or_default()).collect()
}

#[test]
fn a_journal_tells_order_overlap_and_what_never_ended() {
    let line = |event: &str, thread: u32, start: u64, end: Option<u64>| {
        let outcome = end.map(|_| "done");
        let line = json!({
            "event": event, "worker": "actor", "routing_key": "Package", "operation": "new", "id": "p", "package_id": "p",
            "attempt": 1, "redelivered": false, "payload_sha256": "", "payload_bytes": 2, "pid": 1,
            "thread": thread.to_string(), "start_ms": start, "end_ms": end, "outcome": outcome,
        });
        format!("{line}\n")
    };
    let dir = tempfile::tempdir().unwrap();
    let journal = dir.path().join("journal");
    assert!(consumed(&journal).is_empty());
    let lines = [line("start", 1, 10, None), line("start", 2, 15, None), line("end", 1, 10, Some(20))];
    std::fs::write(&journal, lines.concat() + &line("start", 3, 20, None) + "{\"half a li").unwrap();
    let runs = consumed(&journal);
    assert_eq!(runs.iter().map(|run| run.end_ms).collect::<Vec<_>>(), [Some(20), None, None]);
    assert!(sha256(b"").starts_with("e3b0c44298fc1c14"));
    assert!(runs[0].overlaps(&runs[1]) && !runs[0].overlaps(&runs[2]) && runs[1].overlaps(&runs[2]));
}

#[test]
fn the_binary_and_the_plugins_are_built_as_the_test_was() {
    let built = built();
    assert!(built.worker.is_file());
    for package in ["worker-actor", "worker-actor2", "ckan-worker-echo", "ckan-worker-archive"] {
        assert!(built.library(package).is_file());
    }
}

#[test]
fn a_worker_process_is_seen_to_write_and_to_end() {
    let mut worker = WorkerProcess::with_config("[worker]\n");
    let mut command = Command::new("sh");
    command.args(["-c", "echo begun; echo seen >&2; read -r line < wait-for-ever; exit 7"]).current_dir(worker.dir());
    assert!(Command::new("mkfifo").arg(worker.path("wait-for-ever")).status().unwrap().success());
    worker.spawn(command);
    assert_eq!(worker.wait_for_line("see", SOON), "seen");
    assert!(worker.is_running());
    std::fs::write(worker.path("wait-for-ever"), "go\n").unwrap();
    assert_eq!(worker.wait(SOON).code(), Some(7));
    assert_eq!((worker.stdout().as_str(), worker.stderr().as_str()), ("begun\n", "seen\n"));
}

#[test]
fn a_worker_process_ends_with_its_test() {
    let mut worker = WorkerProcess::with_config("");
    let mut command = Command::new("sh");
    command.args(["-c", "echo begun; exec sleep 600"]);
    worker.spawn(command);
    worker.wait_for_line("begun", SOON);
    let proc = Path::new("/proc").join(worker.pid().to_string());
    assert!(proc.exists());
    drop(worker);
    assert!(!proc.exists());
}
