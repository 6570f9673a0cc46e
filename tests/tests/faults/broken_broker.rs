//! What happens to the broker.

use std::time::{Duration, Instant};

use serde_json::json;
use worker_tests::{Broker, End, Verdict, eventually};

use crate::cases::{conclude, form};
use crate::fragile::fragile;
use crate::scene::{Publishing, SOON, Scene, USUAL, usual};

#[test]
fn a_broker_that_is_stopped_and_started_loses_nothing() {
    let Some(fragile) = fragile() else { return };
    let mut scene = Scene::at(fragile.broker(), "stopped", &USUAL);
    scene.play("");
    let publishing = Publishing::begin(&mut scene, form().messages, "m", usual(20));
    let mut more = Verdict::default();
    more.expect(eventually(SOON, || scene.seen().len() > 50), "work has begun");
    let sessions = scene.sessions(0);
    fragile.stop_app();
    std::thread::sleep(form().faults / 2);
    fragile.start_app();
    let up = Instant::now();
    // The longest pause between two tries is the bound.
    more.expect(eventually(Duration::from_secs(32), || scene.sessions(0) > sessions), "back after at most 30 s");
    more.note(format!("back {:.1} s after the broker", up.elapsed().as_secs_f64()));
    publishing.end(&mut scene);
    let mut verdict = scene.judge(form().within, |_| {}).and(more);
    scene.stop(&mut verdict);
    conclude("F6", &verdict, 0);
}

#[test]
fn a_broker_that_is_killed_loses_nothing_that_it_had_confirmed() {
    let Some(fragile) = fragile() else { return };
    let mut scene = Scene::at(fragile.broker(), "killed", &USUAL);
    scene.play("");
    // A quorum queue that RabbitMQ 3.10 has made in the last moments before it is killed stays without a leader for
    // ever: nothing is lost, and nothing goes on until somebody deletes it. So all queues are there before.
    scene.publish(20, "before", usual(0));
    let before = scene.judge(SOON, |_| {});
    assert!(before.is_good(), "all is well before: {before}");
    std::thread::sleep(Duration::from_secs(2));
    let publishing = Publishing::begin(&mut scene, form().messages, "m", usual(20));
    let mut more = Verdict::default();
    let mut downs = Vec::new();
    for round in 1..=(form().times / 10).max(1) {
        more.expect(eventually(SOON, || scene.seen_of("m") > 50 * round), "work goes on");
        let killed = Instant::now();
        fragile.kill_and_restart();
        fragile.wait_until_up();
        downs.push(format!("{:.1}", killed.elapsed().as_secs_f64()));
    }
    more.note(format!("broker back after {} s", downs.join(", ")));
    publishing.end(&mut scene);
    let mut verdict = scene.judge(form().within, |_| {}).and(more);
    scene.stop(&mut verdict);
    conclude("F7", &verdict, 0);
}

/// A broker that blocks those who publish: what is done is acknowledged, nothing new is begun, no failure is lost.
pub fn alarm(broker: &'static Broker, set: impl Fn(bool), seed: Option<&'static str>) -> Verdict {
    let mut scene = Scene::at(broker, "alarm", &[("actor", End::Done)]);
    scene.seed = seed;
    scene.play("concurrency = 9\nqueue.prefetch = 9");
    let (fails, works) = (scene.path("fails"), scene.path("works"));
    let fail = json!({"actor": format!("gate:{};witness;fail_times:1", fails.display())});
    let work = json!({"actor": format!("witness;gate:{};done", works.display())});
    scene.publish(1, "fails", fail);
    scene.publish(8, "works", work);
    scene.publish(40, "waits", json!({"actor": "witness"}));
    let mut more = Verdict::default();
    more.expect(eventually(SOON, || scene.seen_of("works") == 8), "eight jobs run");
    set(true);
    // The failure has to be published, which the broker does not let happen now.
    std::fs::write(&fails, "").unwrap();
    more.expect(eventually(SOON, || scene.seen_of("fails") == 1), "one job fails");
    eventually(Duration::from_secs(5), || scene.hosts[0].stderr().to_lowercase().contains("block"));
    let begun = scene.seen_of("waits");
    std::fs::write(&works, "").unwrap();
    let acknowledged = eventually(Duration::from_secs(5), || scene.vhost().unacked(&scene.queue) <= 1);
    let unacked = scene.vhost().unacked(&scene.queue);
    more.expect(acknowledged, format!("what is done is acknowledged during the alarm, but {unacked} are not"));
    std::thread::sleep(form().faults / 2);
    // What has been noticed a moment late is no harm; going on would be.
    let after = scene.seen_of("waits");
    more.expect(after <= begun + 9, format!("nothing new is begun during the alarm, but {} were", after - begun));
    more.note(format!("{after} of 40 begun during the alarm"));
    set(false);
    let mut verdict = scene.judge(form().within, |_| {}).and(more);
    scene.stop(&mut verdict);
    verdict
}

#[test]
fn a_broker_short_of_memory_gets_acknowledgements_and_no_failure_is_lost() {
    let Some(fragile) = fragile() else { return };
    let verdict = alarm(fragile.broker(), |on| fragile.is_short_of_memory(on), None);
    conclude("F15", &verdict, 0);
}

#[test]
fn a_broker_short_of_disk_gets_acknowledgements_and_no_failure_is_lost() {
    let Some(fragile) = fragile() else { return };
    let verdict = alarm(fragile.broker(), |on| fragile.is_short_of_disk(on), None);
    conclude("F16", &verdict, 0);
}

/// A job that runs longer than the broker waits for its acknowledgement.
pub fn late_acknowledgement(broker: &'static Broker, seed: Option<&'static str>, within: Duration) -> Verdict {
    let mut scene = Scene::at(broker, "late", &[("actor", End::Done)]);
    scene.seed = seed;
    scene.play("");
    let gate = scene.path("gate");
    scene.publish(1, "late", json!({"actor": format!("gate:{};witness", gate.display())}));
    let mut more = Verdict::default();
    let noticed = eventually(SOON, || scene.hosts[0].stderr().contains("session with the broker is lost"));
    if seed.is_none() {
        more.expect(noticed, "the broker's time is over, and the host says so");
        more.expect(eventually(SOON, || scene.sessions(0) == 2), "a new session");
    }
    std::fs::write(gate, "").unwrap();
    scene.publish(50, "m", json!({"actor": "witness"}));
    let mut verdict = scene.judge(within, |_| {}).and(more);
    scene.stop(&mut verdict);
    verdict
}

#[test]
fn a_job_that_outlasts_the_broker_is_done_once() {
    let Some(fragile) = fragile() else { return };
    fragile.acknowledgements_take_at_most(2000);
    let verdict = late_acknowledgement(fragile.broker(), None, form().within);
    conclude("F17", &verdict, 0);
}
