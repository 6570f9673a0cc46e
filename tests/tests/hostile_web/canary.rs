//! Where the portal's token goes: to the portal, and nowhere else.

use std::fs;

use ckan_worker::demo::{Dataset, Datasets};
use serde_json::{Value, json};

use crate::lab::{Lab, SOON, TOKEN};
use crate::trail::Trail;
use crate::web::{Answer, Web, file, says};

const RESOURCE: &str = "5f0c3f10-6a5b-4ad0-9c3e-00000000c0de";
const FOREIGN: &str = "5f0c3f10-6a5b-4ad0-9c3e-00000000f0e1";
/// Around what a portal repeats of a request, so that it is seen to have come.
const ECHO: &str = "you have sent";

/// A portal behind a server that serves its files, of which those that were uploaded lie elsewhere.
struct Scene {
    lab: Lab,
    /// The portal's own server.
    front: Web,
    /// Another's.
    other: Web,
    trail: Trail,
}

fn upload_of(resource: &str) -> String {
    format!("/dataset/d/resource/{resource}/download/file.csv")
}

impl Scene {
    fn new() -> Self {
        Self::with_front(|path, landed| match path {
            path if path.contains("/download/") => says("302 Found", &[format!("Location: {landed}")]),
            path if path.contains("/api/") => says("500 This Is For The Portal", &[]),
            _ => file("text/csv", b"a,b\n1,2\n"),
        })
    }

    /// What the front answers depends on the path, and on where uploads lie.
    fn with_front(answer: impl Fn(&str, &str) -> Answer + Send + Sync + 'static) -> Self {
        let front_place = std::sync::Arc::new(std::sync::OnceLock::<String>::new());
        let to_the_front = std::sync::Arc::clone(&front_place);
        let other = Web::start("127.0.0.2", move |path| match path {
            "/moved.csv" => says("301 Moved Permanently", &[format!("Location: {}", to_the_front.get().unwrap())]),
            _ => file("text/csv", format!("a,b\n1,{path}\n").as_bytes()),
        });
        let landed = other.url("/landed.csv");
        let front = Web::start("127.0.0.7", move |path| answer(path, &landed));
        front_place.set(front.url("/moved/here.csv")).unwrap();
        let uploaded = |id: &str, web: &Web| {
            let dataset = Dataset::new(&format!("uploaded-{id}")).resource(id, &web.url(&upload_of(id)), "CSV");
            dataset.resource_set("id", id).resource_set("url_type", "upload")
        };
        let datasets = Datasets::default()
            .with(Dataset::new("good").resource("good", &other.url("/good.csv"), "CSV"))
            .with(Dataset::new("moved").resource("moved", &other.url("/moved.csv"), "CSV"))
            .with(uploaded(RESOURCE, &front))
            .with(uploaded(FOREIGN, &other));
        let mut lab = Lab::new(datasets);
        lab.front = Some(front.url(""));
        Self { lab, front, other, trail: Trail::of(TOKEN) }
    }

    /// Tells the actor to do something about the dataset whose file was uploaded.
    fn act(&self, act: &str) {
        self.act_on(Dataset::new(&format!("uploaded-{RESOURCE}")).id(), act);
    }

    fn act_on(&self, id: &str, act: &str) {
        let payload = json!({"id": id, "act": act});
        let notification = json!({"routing_key": "Package", "operation": "changed", "payload": payload});
        self.lab.publish([notification.to_string().into_bytes()]);
    }

    fn announce_all(&self) {
        let uploads = [RESOURCE, FOREIGN].map(|id| format!("uploaded-{id}"));
        self.lab.announce(["good", "moved"].map(str::to_owned).into_iter().chain(uploads));
    }

    /// Checks that the token is in no request but those that the portal itself has to see it in.
    #[track_caller]
    fn assert_no_request_tells(&self) {
        let (others, own) = (self.other.requests(), self.front.requests());
        for path in ["/good.csv", "/moved.csv", "/landed.csv", &upload_of(FOREIGN)] {
            assert!(others.iter().any(|request| is_for(request, path)), "{path} was asked for: {others:#?}");
        }
        for request in &others {
            self.trail.assert_absent("a request to another server", request);
        }
        let to_others = own.iter().filter(|request| is_for(request, "/moved/here.csv"));
        assert!(to_others.clone().count() > 0, "{own:#?}");
        for request in to_others {
            self.trail.assert_absent("a request that a stranger's redirect has led to the portal", request);
        }
        let uploads = own.iter().filter(|request| is_for(request, &upload_of(RESOURCE)));
        assert!(uploads.clone().any(|request| request.contains(TOKEN)), "the portal's own is opened with it: {own:#?}");
    }
}

fn is_for(request: &str, path: &str) -> bool {
    request.split(' ').nth(1) == Some(path)
}

#[test]
fn s14_the_token_goes_to_the_portal_and_not_where_its_files_lie() {
    let mut scene = Scene::new();
    scene.lab.configure("", "");
    scene.announce_all();
    scene.act(&format!("request:{}", scene.front.url(&upload_of(RESOURCE))));
    scene.act(&format!("fetch:{}", scene.front.url(&upload_of(RESOURCE))));
    scene.lab.run(&["archive", "actor", "--until-empty"]);
    assert_eq!(scene.lab.letters().len(), 0, "{}", scene.lab.worker.report());
    scene.assert_no_request_tells();
}

#[test]
fn s14_nor_in_a_header_of_another_name() {
    let dataset = std::sync::Arc::new(std::sync::OnceLock::<Value>::new());
    let shown = std::sync::Arc::clone(&dataset);
    let mut scene = Scene::with_front(move |path, landed| {
        let result = match path {
            path if path.contains("/download/") => return says("302 Found", &[format!("Location: {landed}")]),
            path if path.contains("/package_show") => shown.get().unwrap().clone(),
            path if path.contains("/package_revise") => json!({"package": shown.get().unwrap()}),
            path if path.contains("/user_show") => json!({"name": "worker", "sysadmin": true}),
            path if path.contains("/api/") => json!({"ckan_version": "2.11.0", "extensions": []}),
            _ => return file("text/csv", b"a,b\n1,2\n"),
        };
        file("application/json", json!({"success": true, "result": result}).to_string().as_bytes())
    });
    // The front is the portal, and shows one dataset, which has all the files.
    let lab = &mut scene.lab;
    let part = |name: &str| lab.portal.package(name).unwrap()["resources"][0].clone();
    let mut whole = lab.portal.package(&format!("uploaded-{RESOURCE}")).unwrap();
    whole["resources"] =
        json!([part("good"), part("moved"), part(&format!("uploaded-{FOREIGN}")), whole["resources"][0]]);
    dataset.set(whole).unwrap();
    lab.is_behind_front = false;
    lab.configure("ckan.apitoken_header_name = X-CKAN-API-Key", "");
    scene.act("done");
    scene.act(&format!("request:{}", scene.front.url(&upload_of(RESOURCE))));
    scene.lab.run(&["archive", "actor", "--until-empty"]);
    assert_eq!(scene.lab.letters().len(), 0, "{}", scene.lab.worker.report());
    let named = |request: &String| request.to_lowercase().contains(&format!("x-ckan-api-key: {TOKEN}"));
    assert!(scene.front.requests().iter().any(named), "{:#?}", scene.front.requests());
    scene.assert_no_request_tells();
}

/// Has the portal repeat the token in every way that it can fail; answers the actions to call.
fn have_it_repeated(lab: &Lab) -> Vec<String> {
    let said = format!("{ECHO} {TOKEN}, says the portal");
    let ckan = |kind: &str| json!({"success": false, "error": {"__type": kind, "message": said}}).to_string();
    let invalid = json!({"success": false, "error": {"__type": "Validation Error", "size": [said]}}).to_string();
    let page = format!("<!DOCTYPE html><title>Trouble</title><pre>Authorization: {said}</pre>");
    let failures = [
        (400, json!(said).to_string()),
        (403, ckan("Authorization Error")),
        (404, ckan("Not Found Error")),
        (404, page.clone()),
        (409, invalid.clone()),
        (409, ckan("Search Error")),
        (413, page.clone()),
        (429, ckan("Too Many")),
        (500, ckan("Internal Error")),
        (500, page.clone()),
        (503, page.clone()),
        (200, ckan("Odd")),
        (200, page.clone()),
        (302, page),
    ];
    let mut actions = Vec::new();
    for (number, (status, body)) in failures.into_iter().enumerate() {
        let action = format!("tell_{number}");
        // Some are tried again.
        for _ in 0..2 {
            lab.portal.fail_next(&action, status, &body);
        }
        actions.push(action);
    }
    lab.portal.fail_next("package_show", 500, &ckan("Internal Error"));
    lab.portal.fail_next("package_revise", 409, &invalid);
    actions
}

/// Every command that tells of the work, and what must be in what it says.
fn told(lab: &mut Lab) -> Vec<(String, String)> {
    let letter = lab.letters().into_iter().find(|letter| letter.error.contains(ECHO)).expect("it was repeated");
    let id = letter.delivery;
    let library = worker_tests::built().library("ckan-worker-archive").display().to_string();
    let commands: [(&[&str], &str); 9] = [
        (&["dead", "list"], "actor"),
        (&["dead", "show", &id], ECHO),
        (&["dead", "show", &id, "--format", "json"], ECHO),
        (&["dead", "export", "-"], ECHO),
        (&["dead", "export", "letters.jsonl"], ""),
        (&["plugins", "inspect", &library], "archive"),
        (&["check", "archive", "actor"], "CKAN"),
        (&["queue", "status"], ""),
        (&["quarantine", "list"], ""),
    ];
    let mut said = Vec::new();
    for (arguments, expected) in commands {
        let output = lab.command(arguments).arg("-vv").output().unwrap();
        let text = [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned()).join("\n");
        assert!(text.contains(expected), "{arguments:?} says {expected:?}:\n{text}");
        said.push((arguments.join(" "), text));
    }
    said
}

#[test]
fn s15_the_token_stands_in_no_output_no_file_no_letter_and_no_environment() {
    let mut scene = Scene::new();
    let lab = &mut scene.lab;
    lab.configure("attempts = 2\nretry.delays = 100ms\nconcurrency = 2", "");
    let actions = have_it_repeated(lab);
    scene.announce_all();
    for action in &actions {
        scene.act(&format!("ckan:{action}"));
    }
    for act in ["panic", "fail", "permanent", "fail_times:1", "log:told to log", "skip", "done"] {
        scene.act(act);
    }
    let gate = scene.lab.worker.path("gate");
    // In a lane of its own: others are tried again meanwhile.
    scene.act_on("gate", &format!("gate:{}", gate.display()));
    let lab = &mut scene.lab;
    lab.start(&["-vv", "archive", "actor"]);
    lab.wait_until("the end of all but one", |lab| lab.left() == 1);
    let proc = std::path::PathBuf::from(format!("/proc/{}", lab.worker.pid()));
    for name in ["environ", "cmdline"] {
        let bytes = fs::read(proc.join(name)).unwrap();
        assert!(!bytes.is_empty());
        scene.trail.assert_absent(name, &String::from_utf8_lossy(&bytes));
    }
    // With the private copies of the plugins, and what is written before it is tidied up.
    scene.trail.assert_absent_below(lab.worker.dir());
    fs::write(gate, "").unwrap();
    lab.wait_until("the end of all", |lab| lab.left() == 0);
    lab.stop();

    let called = |action: &String| lab.portal.calls_of(action).iter().any(|call| call.status != 400);
    assert!(actions.iter().skip(1).all(called), "{}", lab.worker.report());
    assert!(lab.worker.stderr().contains(ECHO), "it was repeated to the log");
    for (place, text) in told(lab) {
        scene.trail.assert_absent(&place, &text);
    }
    scene.announce_all();
    let lab = &mut scene.lab;
    lab.run(&["-vv", "--dry-run", "archive", "--until-empty"]);
    scene.trail.assert_absent("stdout", &lab.worker.stdout());
    scene.trail.assert_absent("stderr", &lab.worker.stderr());
    scene.trail.assert_absent_below(lab.worker.dir());
    for call in lab.portal.calls() {
        scene.trail.assert_absent("the parameters of a call", &call.params.to_string());
    }
}

#[test]
fn s15_a_token_that_is_refused_or_stands_beside_a_mistake_is_not_shown() {
    let mut lab = Lab::with_portal(Datasets::default());
    let trail = Trail::of(TOKEN);
    lab.start(&["-vv", "archive"]);
    assert_eq!(lab.worker.wait(SOON).code(), Some(77), "{}", lab.worker.report());
    let misspelled = format!("ckan.api_kye={TOKEN}");
    for (arguments, code) in [(&["check", "archive"][..], 77), (&["-k", TOKEN, "--set", &misspelled, "archive"], 78)] {
        let output = lab.command(arguments).arg("-vv").output().unwrap();
        let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        assert_eq!(output.status.code(), Some(code), "{arguments:?}:\n{text}");
        trail.assert_absent(&arguments.join(" "), &text);
    }
    trail.assert_absent_below(lab.worker.dir());
    // Each of these lines is wrong in another way.
    for line in ["ckan.api_key = TOKEN\nckan.api_kye = x", "ckan.api_key = TOKEN\n TOKEN", "ckan.api_key: [TOKEN"] {
        lab.configure(&line.replace("TOKEN", TOKEN), "");
        for arguments in [&["check", "archive"][..], &["check", "--format", "json", "archive"], &["archive"]] {
            let output = lab.command(arguments).arg("-vv").output().unwrap();
            let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
            assert!(!output.status.success(), "{line}\n{text}");
            trail.assert_absent(line, &text);
        }
    }
}
