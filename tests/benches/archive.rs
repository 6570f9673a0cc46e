//! How fast many small files are archived: by the worker, and by a script that does the same with Python's requests,
//! with one thread and with 16, in turn, so that what the machine does meanwhile strikes all.
//!
//! `cargo bench -p worker-tests --bench archive`; `-- --resources 2000 --per-dataset 10 --rounds 5`.

#![expect(clippy::print_stdout, reason = "a bench prints what it measured")]

#[path = "archive/site.rs"]
mod site;

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::json;
use tempfile::TempDir;
use worker_tests::usage::{Usage, cpu_us_of_ended_children};
use worker_tests::{built, python};

use self::site::{Address, Size, TOKEN, Verdict};

/// How often it is looked how much memory is held.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Who does the work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Who {
    Worker,
    Requests { threads: usize },
}

const ALL: [Who; 3] = [Who::Worker, Who::Requests { threads: 1 }, Who::Requests { threads: 16 }];

/// What one run was like.
#[derive(Debug, Clone, Copy)]
struct Run {
    took: Duration,
    cpu: Duration,
    rss_max_bytes: u64,
}

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    if let [_, mode, notifications, size] = &arguments[..]
        && mode == "serve"
    {
        return site::serve(Path::new(notifications), serde_json::from_str(size).expect("a size"));
    }
    let value = |name: &str, default: usize| {
        let at = arguments.iter().position(|argument| argument == name);
        at.and_then(|at| arguments.get(at + 1)).map_or(default, |text| text.parse().expect("a number"))
    };
    let (size, rounds) = (
        Size { resources: value("--resources", 10_000), per_dataset: value("--per-dataset", 50).max(1) },
        value("--rounds", 3),
    );
    println!(
        "medians of {rounds} alternating rounds, {} files of 1 to 20 KiB each, {} in a dataset",
        size.resources, size.per_dataset
    );
    let mut runs = [const { Vec::new() }; ALL.len()];
    for _ in 0..rounds {
        for (who, runs) in ALL.into_iter().zip(&mut runs) {
            runs.push(once(who, size));
        }
    }
    println!(
        "{:<24} {:>13} {:>8} {:>15} {:>8}   worker/it: rate, CPU",
        "", "resources/min", "CPU s", "CPU us/resource", "RSS MiB"
    );
    let figures = runs.map(|runs| Figures::of(&runs, size.resources));
    for (who, one) in ALL.into_iter().zip(&figures) {
        one.print(&who.to_string(), (who != Who::Worker).then_some(&figures[0]));
    }
}

/// One run, with a site and a directory of its own.
fn once(who: Who, size: Size) -> Run {
    let dir = tempfile::tempdir().expect("a directory");
    let running = Running::start(&dir, size);
    let command = match who {
        Who::Worker => worker(dir.path(), &running.address.portal),
        Who::Requests { threads } => requests(dir.path(), &running.address.portal, threads),
    };
    let run = measured(command, dir.path());
    assert_eq!(running.verdict(), Verdict::of_all(size), "{who}: each file is fetched once and known to the portal");
    run
}

/// The worker, with all notifications on its queue.
fn worker(dir: &Path, portal: &str) -> Command {
    let text = format!(
        "[worker]\nckan.site_id = bench\nckan.site_url = {portal}\nckan.api_key = {TOKEN}\namqp.url = sqlite:{}\n\
         plugin_dir = {}\nfetch.allow = 127.0.0.0/8\nfetch.host_rate = 0\nfetch.host_concurrency = 64\n\
         concurrency = 16\n[worker:archive]\ndir = {}\ncoalesce = 0\n",
        dir.join("queue.db").display(),
        built().plugin_dir.display(),
        dir.join("archive").display(),
    );
    fs::write(dir.join("worker.cfg"), text).expect("the directory is ours");
    let command = |arguments: &[&str]| {
        let mut worker = Command::new(&built().worker);
        worker.current_dir(dir).env("HOME", dir).args(["-c", "worker.cfg", "--quiet"]).args(arguments);
        worker
    };
    let sent = command(&["send", "notifications"]).output().expect("the worker runs");
    assert!(sent.status.success(), "{}", String::from_utf8_lossy(&sent.stderr));
    command(&["--until-empty", "archive"])
}

fn requests(dir: &Path, portal: &str, threads: usize) -> Command {
    let mut command = Command::new(python::with("requests==2.*"));
    command.arg(python::script("archive.py")).args([portal, TOKEN]).arg(dir.join("archive")).arg(threads.to_string());
    command.stdin(File::open(dir.join("notifications")).expect("the site has written them"));
    command
}

/// Runs a command to its end, which has to be a good one.
fn measured(mut command: Command, dir: &Path) -> Run {
    let errors = dir.join("errors");
    command.stdout(Stdio::null()).stderr(File::create(&errors).expect("the directory is ours"));
    let (cpu_before, began) = (cpu_us_of_ended_children(), Instant::now());
    let mut child = command.spawn().unwrap_or_else(|error| panic!("cannot run {command:?}: {error}"));
    let mut rss_max_bytes = 0;
    let status = loop {
        if let Some(status) = child.try_wait().expect("it is our child") {
            break status;
        }
        rss_max_bytes = Usage::of(child.id()).map_or(rss_max_bytes, |usage| usage.rss_max_bytes);
        std::thread::sleep(LOOK_EVERY);
    };
    let took = began.elapsed();
    assert!(status.success(), "{command:?}: {status}\n{}", fs::read_to_string(errors).unwrap_or_default());
    Run { took, cpu: Duration::from_micros(cpu_us_of_ended_children() - cpu_before), rss_max_bytes }
}

/// A site in a process of its own, which ends with it.
struct Running {
    child: Child,
    address: Address,
}

impl Running {
    /// Starts one; its notifications are in the directory then.
    fn start(dir: &TempDir, size: Size) -> Self {
        let mut command = Command::new(std::env::current_exe().expect("this program"));
        command.arg("serve").arg(dir.path().join("notifications")).arg(json!(size).to_string());
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("this program runs again");
        let mut line = String::new();
        let out = child.stdout.take().expect("its output was asked for");
        BufReader::new(out).read_line(&mut line).expect("it says where it is");
        Self { child, address: serde_json::from_str(&line).expect("it says where it is") }
    }

    fn verdict(&self) -> Verdict {
        let (host, path) = self.address.verdict.trim_start_matches("http://").split_once('/').expect("an address");
        let mut stream = TcpStream::connect(host).expect("the site runs");
        write!(stream, "GET /{path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n").expect("it listens");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("it answers");
        let (_, body) = answer.split_once("\r\n\r\n").expect("an answer has a body");
        serde_json::from_str(body).expect("a verdict")
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}

impl std::fmt::Display for Who {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Worker => write!(formatter, "worker, 16 at once"),
            Self::Requests { threads: 1 } => write!(formatter, "requests, 1 thread"),
            Self::Requests { threads } => write!(formatter, "requests, {threads} threads"),
        }
    }
}

/// The medians of some runs.
struct Figures {
    rate: f64,
    cpu_s: f64,
    cpu_us: f64,
    rss_mib: f64,
}

#[expect(clippy::cast_precision_loss, reason = "figures to look at")]
impl Figures {
    fn of(runs: &[Run], resources: usize) -> Self {
        let median = |figure: fn(&Run) -> f64| {
            let mut figures: Vec<f64> = runs.iter().map(figure).collect();
            figures.sort_by(f64::total_cmp);
            figures[figures.len() / 2]
        };
        let (took_s, cpu_s) = (median(|run| run.took.as_secs_f64()), median(|run| run.cpu.as_secs_f64()));
        Self {
            rate: resources as f64 * 60.0 / took_s,
            cpu_s,
            cpu_us: cpu_s * 1e6 / resources as f64,
            rss_mib: median(|run| run.rss_max_bytes as f64 / f64::from(1 << 20)),
        }
    }

    fn print(&self, name: &str, worker: Option<&Self>) {
        let ratio = worker.map_or_else(String::new, |worker| {
            format!("   {:.2}, {:.2}", worker.rate / self.rate, worker.cpu_us / self.cpu_us)
        });
        let Self { rate, cpu_s, cpu_us, rss_mib } = self;
        println!("{name:<24} {rate:>13.0} {cpu_s:>8.1} {cpu_us:>15.0} {rss_mib:>8.1}{ratio}");
    }
}
