//! How fast a full queue is drained: by the host with a worker that does nothing, and by a bare lapin consumer with
//! batched acknowledgements and the same prefetch, in turn, so that what the machine does meanwhile strikes both.
//!
//! `cargo bench -p worker-tests --bench drain`; `-- --messages 50000 --rounds 5 --sizes 400,4096,20480 --jobs 2`.

#![expect(clippy::print_stdout, reason = "a bench prints what it measured")]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use futures_util::{FutureExt as _, StreamExt as _};
use lapin::options::{BasicAckOptions, BasicConsumeOptions, BasicQosOptions};
use lapin::types::FieldTable;
use lapin::{Connection, ConnectionProperties};
use serde::{Deserialize, Serialize};
use serde_json::json;
use worker_tests::usage::Usage;
use worker_tests::{Broker, Vhost, built};

const PREFETCH: u16 = 500;

/// What one run was like.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct Run {
    count: u64,
    took_us: u64,
    cpu_us: u64,
    rss_max_bytes: u64,
}

struct Plan {
    messages: usize,
    rounds: usize,
    sizes: Vec<usize>,
    jobs: Vec<usize>,
}

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    if let [_, mode, url, queue, messages] = &arguments[..]
        && mode == "bare"
    {
        let messages = messages.parse().expect("a number of messages");
        return println!("{}", json!(bare(url, queue, messages)));
    }
    let plan = Plan::of(&arguments);
    let Some(broker) = Broker::shared() else { return };
    let vhost = broker.vhost("drain");
    println!(
        "medians of {} alternating rounds, {} messages each, prefetch {PREFETCH}, classic durable queue",
        plan.rounds, plan.messages
    );
    println!(
        "{:>7} {:<12} {:>9} {:>10} {:>8}   host/bare: rate, CPU",
        "bytes", "consumer", "msgs/s", "CPU us/msg", "RSS MiB"
    );
    for &bytes in &plan.sizes {
        compare(&vhost, bytes, &plan);
    }
}

impl Plan {
    fn of(arguments: &[String]) -> Self {
        let value = |name: &str, default: &str| {
            let at = arguments.iter().position(|argument| argument == name);
            at.and_then(|at| arguments.get(at + 1)).map_or(default, String::as_str).to_owned()
        };
        let list = |text: String| text.split(',').map(|item| item.parse().expect("a number")).collect();
        Self {
            messages: value("--messages", "30000").parse().expect("a number of messages"),
            rounds: value("--rounds", "5").parse().expect("a number of rounds"),
            sizes: list(value("--sizes", "400,4096,20480")),
            jobs: list(value("--jobs", "1,4")),
        }
    }
}

fn compare(vhost: &Vhost<'_>, bytes: usize, plan: &Plan) {
    let (site, queue) = (vhost.unique("site"), vhost.unique("queue"));
    vhost.declare_old_topology(&site, &queue);
    let bodies: Vec<String> = (0..plan.messages).map(|number| notification(number, bytes)).collect();
    // In parts, for each is given a bounded time.
    let fill = || bodies.chunks(50_000).for_each(|part| vhost.publish(&site, "Package", part));
    let mut bare_runs = Vec::new();
    let mut host_runs = vec![Vec::new(); plan.jobs.len()];
    for _ in 0..plan.rounds {
        fill();
        bare_runs.push(run_bare(vhost, &queue, plan.messages));
        for (runs, &jobs) in host_runs.iter_mut().zip(&plan.jobs) {
            fill();
            runs.push(run_host(vhost, &site, &queue, jobs, plan.messages));
        }
    }
    vhost.delete_queue(&queue);
    let bare = Figures::of(&bare_runs);
    bare.print(bytes, "bare lapin", None);
    for (runs, jobs) in host_runs.iter().zip(&plan.jobs) {
        Figures::of(runs).print(bytes, &format!("host, {jobs} jobs"), Some(&bare));
    }
}

/// A package dict of about so many bytes, as the 2011 extension published it.
fn notification(number: usize, bytes: usize) -> String {
    let id = format!("{number:08x}-0000-4000-8000-000000000000");
    let body = |resources: &[serde_json::Value], notes: &str| {
        json!({
            "routing_key": "Package",
            "payload": {"id": id, "name": format!("dataset-{number}"), "notes": notes, "resources": resources},
            "operation": "changed",
        })
        .to_string()
    };
    let resource = json!({"id": "12345678-0000-4000-8000-000000000000", "url": "http://data.example/a.csv",
        "format": "CSV", "hash": "", "description": "One of the files", "package_id": id});
    let mut resources = Vec::new();
    while body(&resources, "").len() + resource.to_string().len() + 1 < bytes {
        resources.push(resource.clone());
    }
    let missing = bytes.saturating_sub(body(&resources, "").len());
    body(&resources, &"x".repeat(missing))
}

fn run_bare(vhost: &Vhost<'_>, queue: &str, messages: usize) -> Run {
    let this = std::env::current_exe().expect("this program");
    let output = Command::new(this).args(["bare", vhost.url(), queue, &messages.to_string()]).output();
    let output = output.expect("this program runs again");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("the bare consumer says how it went")
}

fn run_host(vhost: &Vhost<'_>, site: &str, queue: &str, jobs: usize, messages: usize) -> Run {
    let dir = tempfile::tempdir().expect("a directory");
    let report = dir.path().join("report.json");
    let config = write_config(dir.path(), vhost, site, queue, jobs, &report);
    let mut worker = Command::new(&built().worker);
    worker.arg("-c").arg(config).args(["--quiet", "--until-empty", "noop"]).env("HOME", dir.path());
    let output = worker.output().expect("the worker runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let report = std::fs::read(&report).expect("the worker has been let go and has said how it went");
    let run: Run = serde_json::from_slice(&report).expect("a report");
    assert_eq!(run.count, messages as u64, "every message came once");
    run
}

fn write_config(dir: &Path, vhost: &Vhost<'_>, site: &str, queue: &str, jobs: usize, report: &Path) -> PathBuf {
    let path = dir.join("worker.cfg");
    let text = format!(
        "[worker]\nckan.site_id = {site}\namqp.url = {}\nqueue.name = {queue}\nqueue.prefetch = {PREFETCH}\n\
         concurrency = {jobs}\nplugin_dir = {}\n[worker:noop]\nreport = {}\n",
        vhost.url().replace('%', "%%"),
        built().plugin_dir.display(),
        report.display()
    );
    std::fs::write(&path, text).expect("a config");
    path
}

/// A consumer that does nothing but take and acknowledge, as well as lapin can.
fn bare(url: &str, queue: &str, messages: u64) -> Run {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let connection = Connection::connect(url, ConnectionProperties::default()).await.expect("a connection");
        let channel = connection.create_channel().await.expect("a channel");
        channel.basic_qos(PREFETCH, BasicQosOptions::default()).await.expect("a prefetch");
        let (tag, options) = ("bare".into(), BasicConsumeOptions::default());
        let mut consumer =
            channel.basic_consume(queue.into(), tag, options, FieldTable::default()).await.expect("a consumer");
        let (mut count, mut first, mut last) = (0, None, Instant::now());
        while count < messages {
            let mut delivery = consumer.next().await.expect("a delivery").expect("a delivery");
            first.get_or_insert_with(Instant::now);
            count += 1;
            while let Some(Some(Ok(next))) = consumer.next().now_or_never() {
                delivery = next;
                count += 1;
            }
            last = Instant::now();
            channel.basic_ack(delivery.delivery_tag, BasicAckOptions { multiple: true }).await.expect("an ack");
        }
        let took = first.map_or_else(Default::default, |first| last - first);
        let _ = connection.close(200, "done".into()).await;
        let usage = Usage::of_this_process();
        let took_us = u64::try_from(took.as_micros()).expect("less than an age");
        Run { count, took_us, cpu_us: usage.cpu_us, rss_max_bytes: usage.rss_max_bytes }
    })
}

/// The medians of some runs.
struct Figures {
    rate: f64,
    cpu_us: f64,
    rss_mib: f64,
}

#[expect(clippy::cast_precision_loss, reason = "figures to look at")]
impl Figures {
    fn of(runs: &[Run]) -> Self {
        let median = |figure: fn(&Run) -> f64| {
            let mut figures: Vec<f64> = runs.iter().map(figure).collect();
            figures.sort_by(f64::total_cmp);
            figures[figures.len() / 2]
        };
        Self {
            rate: median(|run| run.count as f64 / (run.took_us.max(1) as f64 / 1e6)),
            cpu_us: median(|run| run.cpu_us as f64 / run.count as f64),
            rss_mib: median(|run| run.rss_max_bytes as f64 / f64::from(1 << 20)),
        }
    }

    fn print(&self, bytes: usize, name: &str, bare: Option<&Self>) {
        let ratio = bare.map_or_else(String::new, |bare| {
            format!("   {:.2}, {:.2}", self.rate / bare.rate, self.cpu_us / bare.cpu_us)
        });
        println!("{bytes:>7} {name:<12} {:>9.0} {:>10.1} {:>8.1}{ratio}", self.rate, self.cpu_us, self.rss_mib);
    }
}
