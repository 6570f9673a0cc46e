//! What happens to the host.

use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::json;
use worker_tests::ledger::Named;
use worker_tests::{Broker, End, Verdict, eventually};

use crate::cases::{conclude, form};
use crate::scene::{CONCURRENCY, KILLED, PREFETCH, Publishing, SOON, Scene, USUAL, WORKERS, usual};

/// Kills a host of the scene at random and starts it again, until the time is over or all is done.
pub fn kill_at_random(scene: &mut Scene, host: usize, times: usize) -> usize {
    let mut kills = 0;
    while kills < times {
        // From the first moments of a start to the middle of the work.
        std::thread::sleep(Duration::from_millis(fastrand::u64(20..700)));
        scene.hosts[host].kill();
        scene.hosts[host].wait(SOON);
        scene.start(host);
        kills += 1;
    }
    kills
}

/// A host that is killed at random, and started again each time.
pub fn killed_at_random(mut scene: Scene, times: usize) -> (Verdict, usize) {
    scene.play("");
    // Enough work for all the kills.
    let publishing = Publishing::begin(&mut scene, form().messages.max(times * 40), "m", usual(30));
    let kills = kill_at_random(&mut scene, 0, times);
    publishing.end(&mut scene);
    let mut verdict = scene.judge(form().within, |_| {});
    verdict.note(format!("{kills} kills"));
    let crashed = scene.dead().iter().filter(|letter| letter.reason == "crashed").count();
    verdict.note(format!("{crashed} set aside as crashed"));
    scene.stop(&mut verdict);
    // A success is told to the witness a moment before it is in the journal: a kill in between has it repeated.
    (verdict, kills * CONCURRENCY)
}

#[test]
fn a_host_that_is_killed_at_random_loses_nothing() {
    let Some(broker) = Broker::shared() else { return };
    let (verdict, duplicates_max) = killed_at_random(Scene::at(broker, "killed", &KILLED), form().times);
    conclude("F8", &verdict, duplicates_max);
}

/// The points at which a host dies.
pub const POINTS: [&str; 4] = ["letter-confirmed", "journal-written", "before-settle", "run-ended"];

/// A host that dies at this point when it passes it for the nth time, and is then started again.
pub fn dies_at(mut scene: Scene, point: &str, nth: usize) -> Verdict {
    let url = scene.url();
    // One run after another, so that when the host dies one at most has told the witness and not yet the journal.
    scene.add_host(&url, "concurrency = 1");
    scene.named = Named::All;
    let die = format!("{point}:{nth}");
    scene.start_with(0, &[("CKAN_WORKER_DIE_AT", &die)]);
    if scene.is_at_a_broker() {
        scene.hosts[0].wait_for_line("consuming queue", SOON);
    }
    let publishing = Publishing::begin(&mut scene, 30, "m", usual(5));
    let mut more = Verdict::default();
    more.expect(eventually(SOON, || !scene.hosts[0].is_running()), format!("the host dies at {die}"));
    publishing.end(&mut scene);
    if !scene.hosts[0].is_running() {
        scene.start(0);
    }
    let mut verdict = scene.judge(form().within, |_| {}).and(more);
    let twice = verdict.counts.duplicated;
    verdict.expect(twice <= 1, format!("{die}: at most the one that ran was done twice, but {twice} were"));
    scene.stop(&mut verdict);
    verdict
}

#[test]
fn a_host_that_dies_between_confirming_and_acknowledging_does_nothing_twice() {
    let Some(broker) = Broker::shared() else { return };
    let mut whole = Verdict::default();
    for point in POINTS {
        let passes = if form().name == "long" { vec![1, 2, 5, 20, 50] } else { vec![1, 20] };
        for nth in passes {
            whole = whole.and(dies_at(Scene::at(broker, "dies", &USUAL), point, nth));
        }
    }
    whole.note(format!("{} points", POINTS.len()));
    conclude("F9", &whole, POINTS.len() * 5);
}

/// Jobs that are running when the host is asked to stop, several times; then they may end.
pub fn asked_to_stop(mut scene: Scene) -> Verdict {
    let url = scene.url();
    scene.add_host(&url, "drain = 1s\ngrace = 1s");
    let gate = scene.path("gate");
    let mut more = Verdict::default();
    let mut longest = Duration::ZERO;
    scene.start(0);
    if scene.is_at_a_broker() {
        scene.hosts[0].wait_for_line("consuming queue", SOON);
    }
    scene.publish(PREFETCH, "m", json!({"actor": format!("witness;gate:{};fail", gate.display())}));
    // Oftener than a crash would be forgiven.
    for round in 1..=4 {
        let running = eventually(SOON, || scene.seen_of("m") >= CONCURRENCY * round);
        more.expect(running, format!("round {round}: {CONCURRENCY} jobs run again"));
        let asked = Instant::now();
        scene.hosts[0].terminate();
        let status = scene.hosts[0].wait(SOON);
        longest = longest.max(asked.elapsed());
        more.expect(status.success(), format!("it ends well, but {status}"));
        scene.start(0);
    }
    more.expect(longest <= Duration::from_secs(4), format!("`drain` and two seconds, but it took {longest:?}"));
    more.note(format!("4 stops, {:.1} s at most", longest.as_secs_f64()));
    eventually(SOON, || scene.seen_of("m") >= CONCURRENCY * 5);
    // Twice is now.
    let asked = Instant::now();
    scene.hosts[0].signal(Signal::TERM);
    scene.hosts[0].signal(Signal::TERM);
    scene.hosts[0].wait(SOON);
    more.expect(asked.elapsed() < Duration::from_secs(1), format!("twice is now, not after {:?}", asked.elapsed()));
    std::fs::write(gate, "").unwrap();
    scene.start(0);
    let mut verdict = scene.judge(form().within, |_| {}).and(more);
    scene.stop(&mut verdict);
    verdict
}

#[test]
fn jobs_that_run_when_the_host_is_asked_to_stop_come_back_and_are_no_crashes() {
    let Some(broker) = Broker::shared() else { return };
    let ends = [("actor", End::Dead("attempts_exhausted"))];
    conclude("F13", &asked_to_stop(Scene::at(broker, "stops", &ends)), 0);
}

#[test]
fn a_host_that_is_restarted_25_times_with_a_full_prefetch_sets_nothing_aside() {
    let Some(broker) = Broker::shared() else { return };
    let mut scene = Scene::at(broker, "rolling", &USUAL);
    // The prefetch is the host's own choice: that is what is examined.
    let url = scene.url();
    scene.add_host(&url, "concurrency = 4\ndrain = 1s\ngrace = 1s\n#queue.prefetch");
    scene.start(0);
    scene.hosts[0].wait_for_line("consuming queue", SOON);
    let gate = scene.path("gate");
    let slow = format!("gate:{};witness", gate.display());
    scene.publish(100, "m", json!({"actor": slow, "actor2": "witness;fail_times:2", "actor3": "witness;fail"}));
    let mut more = Verdict::default();
    let mut held = Vec::new();
    for restart in 1..=25 {
        let consumes = eventually(SOON, || scene.sessions(0) == restart);
        let full = consumes && eventually(SOON, || scene.vhost().unacked(&scene.queue) >= 8);
        more.expect(full, format!("restart {restart}: the prefetch is full"));
        held.push(scene.vhost().unacked(&scene.queue));
        scene.hosts[0].terminate();
        let status = scene.hosts[0].wait(SOON);
        more.expect(status.success(), format!("restart {restart}: it ends well, but {status}"));
        scene.start(0);
    }
    more.note(format!("25 restarts with {} in hand at most", held.iter().max().unwrap()));
    std::fs::write(gate, "").unwrap();
    let mut verdict = scene.judge(form().within, |_| {}).and(more);
    scene.stop(&mut verdict);
    conclude("F14", &verdict, 0);
}

/// Two hosts on one queue, of which one is killed again and again.
pub fn one_of_two(mut scene: Scene, times: usize) -> (Verdict, usize) {
    scene.play("");
    scene.play("");
    let publishing = Publishing::begin(&mut scene, form().messages.max(times * 40), "m", usual(30));
    let kills = kill_at_random(&mut scene, 0, times);
    publishing.end(&mut scene);
    let mut verdict = scene.judge(form().within, |_| {});
    verdict.note(format!("{kills} kills"));
    scene.stop(&mut verdict);
    // What one journal knows the other host does not: all that was in hand may be done again there.
    (verdict, kills * PREFETCH * WORKERS.len())
}

#[test]
fn two_hosts_of_which_one_is_killed_lose_nothing() {
    let Some(broker) = Broker::shared() else { return };
    let (verdict, duplicates_max) = one_of_two(Scene::at(broker, "two", &KILLED), form().times);
    conclude("F28", &verdict, duplicates_max);
}
