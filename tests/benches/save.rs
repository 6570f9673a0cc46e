//! How much longer a user's save takes with the extension than without: `resource_patch` on two sites of one CKAN, one
//! with the plugin and one without, in turn, so that what else the machine does meets both.
//!
//! `cargo bench -p worker-tests --bench save -- --pairs 30 --rounds 5` prints the median of each and the ratio; versions
//! as in the tests.
#![expect(clippy::print_stdout, reason = "a bench prints what it measured")]

use std::time::{Duration, Instant};

use serde_json::json;
use worker_tests::ckan::{self, Ckan, Site};

/// Calls before it counts: connections, caches and the like.
const WARM_UP: usize = 10;

fn main() {
    let (pairs, rounds) = (option("--pairs", 30), option("--rounds", 5));
    for version in ckan::versions() {
        let Some(ckan) = Ckan::shared(version) else { return };
        // One worker process with one thread: the calls come one after another anyway.
        let with = Patched::new(ckan.site("with").plugin("worker").start());
        let without = Patched::new(ckan.site("without").start());
        for number in 0..WARM_UP {
            with.patch(number);
            without.patch(number);
        }
        let (mut all_with, mut all_without, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
        for round in 0..rounds {
            let (mut a, mut b) = (Vec::new(), Vec::new());
            for pair in 0..pairs {
                let number = WARM_UP + round * pairs + pair;
                // Who comes first changes, too.
                if pair % 2 == 0 {
                    a.push(with.patch(number));
                    b.push(without.patch(number));
                } else {
                    b.push(without.patch(number));
                    a.push(with.patch(number));
                }
            }
            ratios.push(median(&mut a).as_secs_f64() / median(&mut b).as_secs_f64());
            all_with.append(&mut a);
            all_without.append(&mut b);
        }
        let told = with.site.sql("SELECT count(*) FROM worker_outbox");
        let (with, without) = (median(&mut all_with), median(&mut all_without));
        let shown: Vec<String> = ratios.iter().map(|ratio| format!("{ratio:.2}")).collect();
        println!(
            "CKAN {version}: resource_patch {:.1} ms with the extension, {:.1} ms without: ratio {:.3} (rounds: {}); \
             {} rows in the outbox",
            with.as_secs_f64() * 1e3,
            without.as_secs_f64() * 1e3,
            with.as_secs_f64() / without.as_secs_f64(),
            shown.join(" "),
            told.trim(),
        );
    }
}

/// A site and a resource in it that is changed again and again.
struct Patched {
    site: Site,
    resource: String,
}

impl Patched {
    fn new(site: Site) -> Self {
        let resources =
            json!([{"name": "a", "url": "http://files.example/a"}, {"name": "b", "url": "http://files.example/b"}]);
        let dataset =
            site.call("package_create", &json!({"name": "saved", "owner_org": "test-org", "resources": resources}));
        let resource = dataset["resources"][0]["id"].as_str().expect("CKAN gives it one").to_owned();
        Self { site, resource }
    }

    fn patch(&self, number: usize) -> Duration {
        let parameters = json!({"id": self.resource, "description": format!("number {number}")});
        let begun = Instant::now();
        self.site.call("resource_patch", &parameters);
        begun.elapsed()
    }
}

fn median(times: &mut [Duration]) -> Duration {
    times.sort();
    times[times.len() / 2]
}

fn option(name: &str, default: usize) -> usize {
    let mut arguments = std::env::args().skip_while(|argument| argument != name).skip(1);
    arguments.next().map_or(default, |value| value.parse().unwrap_or_else(|_| panic!("{name} wants a number")))
}
