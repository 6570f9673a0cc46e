//! What happens to CKAN.

use std::time::{Duration, Instant};

use worker_tests::{Broker, End, Mood, Verdict, eventually};

use crate::cases::{conclude, form};
use crate::scene::{SOON, Scene, usual};

/// The breaker looks again after half a minute; the rest is for a machine that does much else.
const LOOKS_AGAIN: Duration = Duration::from_secs(45);

/// The usual workers, of which those that work must not fail although CKAN does not answer well.
const NOT_BURNT: [(&str, End); 3] =
    [("actor", End::Done), ("actor2", End::Done), ("actor3", End::Dead("attempts_exhausted"))];

/// A portal that is in these moods one after another while there is work, and then well.
fn moody(broker: &'static Broker, name: &str, settings: &str, moods: &[Mood], well_again: Duration) -> Verdict {
    let mut scene = Scene::at(broker, name, &NOT_BURNT);
    scene.play(settings);
    scene.publish(20, "before", usual(0));
    let mut more = Verdict::default();
    more.expect(eventually(SOON, || scene.seen().iter().any(worker_tests::Seen::is_success)), "work has begun");
    for mood in moods {
        scene.witness.set(*mood);
        scene.publish(60, &format!("{mood:?}"), usual(5));
        // As long as a worker would need to use up its attempts, and longer.
        std::thread::sleep(Duration::from_secs(3));
        let asked = scene.seen().iter().filter(|seen| !seen.was_well).count();
        more.note(format!("{mood:?}: {asked} calls"));
    }
    let dead = scene.dead().iter().filter(|letter| letter.worker != "actor3").count();
    more.expect(dead == 0, format!("no dead letters because of CKAN, but there are {dead}"));
    scene.witness.set(Mood::Well);
    let well = Instant::now();
    let seen = scene.seen().iter().filter(|seen| seen.is_success()).count();
    let goes_on = eventually(well_again, || scene.seen().iter().filter(|seen| seen.is_success()).count() > seen);
    more.expect(goes_on, format!("work goes on within {well_again:?}"));
    more.note(format!("went on {:.1} s after CKAN", well.elapsed().as_secs_f64()));
    let mut verdict = scene.judge(form().within, |_| {}).and(more);
    scene.stop(&mut verdict);
    verdict
}

#[test]
fn a_portal_that_is_down_costs_no_attempts() {
    let Some(broker) = Broker::shared() else { return };
    let moods = [Mood::Status(503), Mood::Resets, Mood::Status(502), Mood::Trickles];
    let verdict = moody(broker, "down", "ckan.timeout = 1s", &moods, LOOKS_AGAIN);
    conclude("F27a", &verdict, 0);
}

#[test]
fn a_portal_that_has_too_much_to_do_costs_no_attempts() {
    let Some(broker) = Broker::shared() else { return };
    conclude("F27b", &moody(broker, "busy", "", &[Mood::TooMany(1)], LOOKS_AGAIN), 0);
}

#[test]
fn a_portal_that_does_not_accept_the_token_pauses_the_workers_and_kills_no_backlog() {
    let Some(broker) = Broker::shared() else { return };
    let verdict = moody(broker, "token", "", &[Mood::Status(401), Mood::Status(403)], LOOKS_AGAIN);
    conclude("F27c", &verdict, 0);
}
