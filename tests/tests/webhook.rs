//! The worker webhook from outside: the binary on the embedded queue, and receivers on loopback.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "webhook/receiver.rs"]
mod receiver;

use std::fs;
use std::io::Write as _;
use std::process::{Command, Stdio};
use std::time::Duration;

use ckan_worker::Config;
use ckan_worker::demo::data::TOKEN;
use ckan_worker::demo::{Dataset, Datasets, Portal};
use ckan_worker::source::sqlite::{self, StoredLetter};
use serde_json::{Value, json};
use worker_tests::places::workspace;
use worker_tests::{WorkerProcess, built, eventually};

use self::receiver::{Post, Receiver};

/// Nothing here takes longer.
const SOON: Duration = Duration::from_secs(60);
const SECRET: &str = "whsec_Y2FuYXJ5LXNlY3JldC1vZi10aGUtdGVzdHM=";

/// A portal that knows two datasets, a queue, and a receiver.
struct Stage {
    receiver: Receiver,
    portal: Portal,
    public: Dataset,
    private: Dataset,
    dir: tempfile::TempDir,
}

impl Stage {
    fn new() -> Self {
        let receiver = Receiver::start();
        let (public, private) = (Dataset::new("trees"), Dataset::new("canary-plans").private());
        let datasets = Datasets::default().with(public.clone()).with(private.clone()).with_user("admin", TOKEN);
        let portal = receiver.runtime().block_on(Portal::start(datasets)).unwrap();
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("secret"), SECRET).unwrap();
        Self { receiver, portal, public, private, dir }
    }

    /// Puts notifications on the queue of a worker that is not yet started.
    fn send(&self, host_settings: &str, targets: &[String], notifications: &[Value]) -> WorkerProcess {
        let lines: Vec<String> = notifications.iter().map(Value::to_string).collect();
        let mut worker = WorkerProcess::with_config(&format!(
            "[worker]\nckan.site_id = portal\namqp.url = {}\nplugin_dir = {}\nckan.site_url = {}\n\
             ckan.api_key = {TOKEN}\nretry.delays = 100ms\nattempts = 4\n{host_settings}\n\
             [worker:webhook]\nrequired = yes\nsource = https://data.example\nsecret_file = {}\ntargets =\n  {}\n",
            self.queue(),
            built().plugin_dir.display(),
            self.portal.url(),
            self.dir.path().join("secret").display(),
            targets.join("\n  "),
        ));
        fs::write(worker.path("lines"), lines.join("\n")).unwrap();
        worker.start(["send", "lines"]);
        assert!(worker.wait(SOON).success(), "{}", worker.report());
        worker
    }

    /// Sends notifications, and has the worker post them to these targets until the queue is empty.
    fn run(&self, host_settings: &str, targets: &[String], notifications: &[Value]) -> WorkerProcess {
        let mut worker = self.send(host_settings, targets, notifications);
        worker.start(["webhook", "--until-empty"]);
        assert!(worker.wait(SOON).success(), "{}", worker.report());
        worker
    }

    /// Goes on with what waits to be tried again, until a target has got so many posts.
    fn go_on(&self, worker: &mut WorkerProcess, target: &str, posts: usize) {
        worker.start(["webhook"]);
        let have_come = eventually(SOON, || self.receiver.posts_to(target).len() >= posts);
        worker.terminate();
        assert!(worker.wait(SOON).success() && have_come, "{}", worker.report());
    }

    fn queue(&self) -> String {
        format!("sqlite:{}", self.dir.path().join("queue.db").display())
    }

    fn letters(&self) -> Vec<StoredLetter> {
        let config = Config::from_map([("ckan.site_id", "portal"), ("amqp.url", self.queue().as_str())]).unwrap();
        sqlite::letters(&self.dir.path().join("queue.db"), &config.queue).unwrap()
    }

    fn target(&self, name: &str, options: &str) -> String {
        format!("{name} {}/{name} {options}", self.receiver.url())
    }
}

fn changed(dataset: &Dataset, is_private: bool) -> Value {
    let payload = json!({ "id": dataset.id(), "title": "Bäume", "private": is_private, "state": "active",
                          "metadata_modified": "2026-01-31T12:00:00", "plugin_data": { "note": "canary-note" } });
    json!({ "routing_key": "Package", "operation": "changed", "payload": payload })
}

fn resource_of(dataset: &Dataset) -> Value {
    json!({ "routing_key": "Resource", "operation": "new", "payload": { "id": "r1", "package_id": dataset.id() } })
}

fn event(post: &Post) -> Value {
    serde_json::from_slice(&post.body).unwrap()
}

#[test]
fn what_is_public_is_posted_signed_and_what_is_not_goes_to_who_asks_for_it() {
    let stage = Stage::new();
    let targets = [stage.target("open", ""), stage.target("audit", "private=yes plugin_data=yes")];
    let notifications = [
        changed(&stage.public, false),
        resource_of(&stage.public),
        changed(&stage.private, true),
        resource_of(&stage.private),
    ];
    let worker = stage.run("fetch.allow = 127.0.0.0/8", &targets, &notifications);
    assert_eq!(stage.letters().len(), 0, "{}", worker.report());

    let open = stage.receiver.posts_to("open");
    let mut kinds: Vec<Value> = open.iter().map(|post| event(post)["type"].clone()).collect();
    kinds.sort_by_key(Value::to_string);
    assert_eq!(kinds, ["org.ckan.package.changed", "org.ckan.resource.new"], "{}", worker.report());
    for post in &open {
        assert!(!String::from_utf8_lossy(&post.body).contains("canary"), "{post:?}");
        assert!(!String::from_utf8_lossy(&post.body).contains(stage.private.id()), "{post:?}");
    }
    let audit = stage.receiver.posts_to("audit");
    assert_eq!(audit.len(), 4, "{}", worker.report());
    let mut notes = audit.iter().map(|post| event(post)["data"]["plugin_data"]["note"].clone());
    assert!(notes.any(|note| note == "canary-note"));

    for post in stage.receiver.posts() {
        assert!(is_genuine(&post, SECRET));
        assert!(!is_genuine(&post, "another-secret-than-ours"));
        assert!(!is_genuine(&Post { body: [post.body.as_slice(), b" "].concat(), ..post.clone() }, SECRET));
        let mut old = post.clone();
        old.headers.insert("webhook-timestamp".to_owned(), "1000000000".to_owned());
        assert!(!is_genuine(&old, SECRET));
    }
}

#[test]
fn s14_the_token_of_ckan_and_the_secret_are_in_no_post_and_not_in_the_log() {
    let stage = Stage::new();
    let targets = [stage.target("one", "private=yes"), stage.target("two", "format=binary private=yes")];
    let worker = stage.run("fetch.allow = 127.0.0.0/8", &targets, &[changed(&stage.public, false)]);
    let posts = stage.receiver.posts();
    assert_eq!(posts.len(), 2, "{}", worker.report());
    for post in posts {
        let said = format!("{:?} {}", post.headers, String::from_utf8_lossy(&post.body));
        assert!(!said.contains(TOKEN), "{said}");
        let canaries = ["authorization", "cookie", "x-ckan-api-key"];
        assert!(canaries.iter().all(|name| !post.headers.contains_key(*name)), "{said}");
    }
    let log = worker.stderr() + &worker.stdout();
    for secret in [TOKEN, SECRET, "canary-secret-of-the-tests"] {
        assert!(!log.contains(secret), "{}", worker.report());
    }
}

#[test]
fn a_target_that_failed_is_asked_again_with_the_same_id_and_the_other_is_left_alone() {
    let stage = Stage::new();
    stage.receiver.answer_next("flaky", &[500, 503]);
    let targets = [stage.target("flaky", ""), stage.target("steady", "")];
    let mut worker = stage.send("fetch.allow = 127.0.0.0/8", &targets, &[changed(&stage.public, false)]);
    stage.go_on(&mut worker, "flaky", 3);
    assert_eq!(stage.letters().len(), 0, "{}", worker.report());
    let flaky = stage.receiver.posts_to("flaky");
    assert_eq!(flaky.len(), 3, "{}", worker.report());
    assert!(flaky.iter().all(|post| post.headers["webhook-id"] == flaky[0].headers["webhook-id"]), "{flaky:?}");
    assert_eq!(stage.receiver.posts_to("steady").len(), 1, "{}", worker.report());
    assert!(worker.stderr().contains("steady: delivered org.ckan.package.changed"), "{}", worker.report());
}

#[test]
fn how_the_runs_of_other_workers_ended_is_posted_to_who_names_that_class() {
    let stage = Stage::new();
    let targets = [stage.target("all", ""), stage.target("ops", "routing_keys=Run")];
    let mut failing = changed(&stage.public, false);
    failing["payload"]["act"] = "permanent".into();
    let notifications = [changed(&stage.public, false), failing];
    let mut worker = stage.send("fetch.allow = 127.0.0.0/8", &targets, &notifications);
    worker.start(["actor", "webhook"]);
    let have_come = eventually(SOON, || stage.receiver.posts_to("ops").len() >= 2);
    worker.terminate();
    assert!(worker.wait(SOON).success() && have_come, "{}", worker.report());

    let ops = stage.receiver.posts_to("ops");
    let told = |kind: &str| ops.iter().map(event).find(|event| event["type"] == kind).unwrap_or_default();
    let (done, dead) = (told("org.ckan.run.done"), told("org.ckan.run.dead"));
    assert_eq!(ops.len(), 2, "the webhook's own runs are not told: {}", worker.report());
    assert_eq!((&done["data"]["worker"], &done["data"]["operation"]), (&json!("actor"), &json!("changed")));
    assert_eq!(done["data"]["package_id"], stage.public.id());
    assert_eq!(dead["data"]["error"], "told to fail for good");
    let kinds: Vec<Value> = stage.receiver.posts_to("all").iter().map(|post| event(post)["type"].clone()).collect();
    assert!(kinds.iter().all(|kind| kind == "org.ckan.package.changed"), "{kinds:?}");
}

#[test]
fn a_target_that_is_gone_leaves_a_dead_letter_that_says_so() {
    let stage = Stage::new();
    stage.receiver.answer_next("gone", &[410]);
    let worker = stage.run("fetch.allow = 127.0.0.0/8", &[stage.target("gone", "")], &[changed(&stage.public, false)]);
    let letters = stage.letters();
    let reasons: Vec<_> = letters.iter().map(|letter| (letter.reason.as_str(), letter.attempts)).collect();
    assert_eq!(reasons, [("permanent", 1)], "{}", worker.report());
    assert_eq!(stage.receiver.posts().len(), 1);
    assert!(worker.stderr().contains("gone: answered 410"), "{}", worker.report());
}

#[test]
fn a_target_inside_the_hosts_network_is_not_asked_unless_it_is_allowed() {
    let stage = Stage::new();
    let worker = stage.run("", &[stage.target("inside", "")], &[changed(&stage.public, false)]);
    let reasons: Vec<_> = stage.letters().into_iter().map(|letter| letter.reason).collect();
    assert_eq!(reasons, ["permanent"], "{}", worker.report());
    assert!(worker.stderr().contains("inside: URL invalid: forbidden"), "{}", worker.report());
    assert!(stage.receiver.posts().is_empty(), "{}", worker.report());
}

/// What the function in the plugin's README says of a post, in Python, as a receiver would run it.
fn is_genuine(post: &Post, secret: &str) -> bool {
    let readme = fs::read_to_string(workspace().join("plugins/webhook/README.md")).unwrap();
    let (_, block) = readme.split_once("```python\n").expect("the README says how to check a signature");
    let (function, _) = block.split_once("```").unwrap();
    let program = format!(
        "{function}\nimport json, sys\npost = json.load(sys.stdin)\n\
         print(is_genuine(post['headers'], bytes(post['body']), post['secret']))\n"
    );
    let input = json!({ "headers": post.headers, "body": post.body, "secret": secret }).to_string();
    let mut command = Command::new("python3");
    command.args(["-c", &program]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().expect("there is a python3");
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    match String::from_utf8_lossy(&output.stdout).trim() {
        "True" => true,
        "False" => false,
        said => panic!("the function in the README fails: {said}"),
    }
}
