//! What happens on the way between host and broker.

use std::time::{Duration, Instant};

use worker_tests::{Broker, Line, Proxy, Verdict, Way, eventually};

use crate::cases::{conclude, form};
use crate::scene::{Publishing, SOON, Scene, USUAL, usual};

/// A host behind a proxy, which has begun to consume.
fn behind_a_proxy(broker: &'static Broker, name: &str, settings: &str) -> (Scene, Proxy) {
    let mut scene = Scene::at(broker, name, &USUAL);
    let proxy = Proxy::to(scene.broker_port());
    let url = scene.url_through(proxy.port());
    scene.play_through(&url, settings);
    (scene, proxy)
}

/// How long it takes until the host consumes again; a failure in the verdict if that is longer than `max`.
fn back_after(scene: &Scene, sessions: usize, max: Duration, verdict: &mut Verdict) -> Duration {
    let since = Instant::now();
    let is_back = eventually(SOON.max(max), || scene.sessions(0) > sessions);
    let took = since.elapsed();
    verdict.expect(is_back && took <= max, format!("back within {max:?}, but it took {took:?}"));
    took
}

/// The time it took at most, as a note.
fn note_longest(verdict: &mut Verdict, what: &str, times: &[Duration]) {
    let longest = times.iter().max().copied().unwrap_or_default();
    verdict.note(format!("{} times, {what} after {:.1} s at most", times.len(), longest.as_secs_f64()));
}

#[test]
fn connections_that_are_cut_come_back_within_two_seconds_and_nothing_is_done_twice() {
    let Some(broker) = Broker::shared() else { return };
    let (mut scene, proxy) = behind_a_proxy(broker, "cut", "");
    let publishing = Publishing::begin(&mut scene, form().messages, "m", usual(20));
    let (mut more, mut times, begun) = (Verdict::default(), Vec::new(), Instant::now());
    let pause = form().faults / 12;
    while begun.elapsed() < form().faults {
        std::thread::sleep(pause.mul_f64(0.2 + fastrand::f64()));
        let sessions = scene.sessions(0);
        proxy.cut();
        // Two seconds are promised; the third is for a machine that does much else.
        times.push(back_after(&scene, sessions, Duration::from_secs(3), &mut more));
    }
    publishing.end(&mut scene);
    let mut verdict = scene.judge(form().within, |_| {}).and(more);
    note_longest(&mut verdict, "back", &times);
    scene.stop(&mut verdict);
    conclude("F1", &verdict, 0);
}

/// Twice the heartbeat of eight seconds, half of one until somebody looks, and one for a machine that does much else.
const DETECTED: Duration = Duration::from_secs(21);

/// How a line that is broken in this way is noticed, and what becomes of everything when it is mended.
fn silent_line(broker: &'static Broker, name: &str, line: Line, detected: Duration) -> Verdict {
    let (mut scene, proxy) = behind_a_proxy(broker, name, "");
    let publishing = Publishing::begin(&mut scene, form().messages / 2, "m", usual(20));
    let mut more = Verdict::default();
    more.expect(eventually(SOON, || scene.seen().len() > 50), "work has begun");
    let (since, lost) = (Instant::now(), "session with the broker is lost");
    proxy.set(line);
    let noticed = eventually(detected, || scene.hosts[0].stderr().contains(lost));
    more.expect(noticed, format!("{line:?}: noticed within {detected:?}"));
    more.note(format!("{line:?}: noticed after {:.1} s", since.elapsed().as_secs_f64()));
    // The rest of the time in which a confirmation could be waited for.
    std::thread::sleep(form().faults.saturating_sub(since.elapsed()));
    proxy.set(Line::Passes);
    publishing.end(&mut scene);
    let mut verdict = scene.judge(form().within, |_| {}).and(more);
    scene.stop(&mut verdict);
    verdict
}

#[test]
fn a_black_hole_is_noticed_and_nothing_is_lost_in_it() {
    let Some(broker) = Broker::shared() else { return };
    conclude("F2", &silent_line(broker, "hole", Line::BlackHole, DETECTED), 0);
}

#[test]
fn a_line_that_passes_one_direction_only_is_noticed_and_nothing_is_lost() {
    let Some(broker) = Broker::shared() else { return };
    // Where only the broker is heard it is the broker that notices, at the third heartbeat that it misses.
    let by_the_broker = Duration::from_secs(35);
    let verdict = std::thread::scope(|scope| {
        let heard = scope.spawn(|| silent_line(broker, "heard", Line::OnlyToServer, DETECTED));
        let hearing = scope.spawn(|| silent_line(broker, "hearing", Line::OnlyToClient, by_the_broker));
        heard.join().unwrap().and(hearing.join().unwrap())
    });
    conclude("F3", &verdict, 0);
}

#[test]
fn frames_that_are_cut_or_garbage_begin_a_new_session_and_nothing_panics() {
    let Some(broker) = Broker::shared() else { return };
    let (mut scene, proxy) = behind_a_proxy(broker, "garbage", "");
    let publishing = Publishing::begin(&mut scene, form().messages, "m", usual(20));
    let (mut more, mut times) = (Verdict::default(), Vec::new());
    let garbage = b"\x55\x00\x01\x00\x00\x00\x04this is no frame\xce HTTP/1.1 200 OK\r\n\r\n";
    for round in 0..(form().times / 2).max(4) {
        more.expect(eventually(SOON, || proxy.connections() >= 1), "a connection to break");
        let sessions = scene.sessions(0);
        match round % 4 {
            0 => proxy.cut_after(Way::ToClient, 3 + round),
            1 => proxy.cut_after(Way::ToServer, 3 + round),
            2 => proxy.inject(Way::ToClient, garbage),
            _ => proxy.inject(Way::ToServer, garbage),
        }
        times.push(back_after(&scene, sessions, DETECTED, &mut more));
    }
    publishing.end(&mut scene);
    let mut verdict = scene.judge(form().within, |_| {}).and(more);
    note_longest(&mut verdict, "back", &times);
    scene.stop(&mut verdict);
    conclude("F4", &verdict, 0);
}

/// A host whose connections an operator closes again and again.
pub fn closed_again_and_again(broker: &'static Broker, seed: Option<&'static str>) -> Verdict {
    let mut scene = Scene::at(broker, "closed", &USUAL);
    scene.seed = seed;
    scene.play("");
    let publishing = Publishing::begin(&mut scene, form().messages, "m", usual(20));
    for _ in 0..(form().times / 2).max(8) {
        let sessions = scene.sessions(0);
        std::thread::sleep(Duration::from_millis(fastrand::u64(100..300)));
        scene.vhost().close_all_connections("the suite says so");
        eventually(SOON, || scene.sessions(0) > sessions);
    }
    publishing.end(&mut scene);
    let mut verdict = scene.judge(form().within, |_| {});
    verdict.note(format!("{} sessions", scene.sessions(0)));
    scene.stop(&mut verdict);
    verdict
}

#[test]
fn connections_that_an_operator_closes_come_back_and_nothing_is_done_twice() {
    let Some(broker) = Broker::shared() else { return };
    conclude("F5", &closed_again_and_again(broker, None), 0);
}
