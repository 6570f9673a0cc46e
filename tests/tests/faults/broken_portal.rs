//! What happens to CKAN.

use std::time::{Duration, Instant};

use worker_tests::{Broker, End, Mood, Seen, Verdict, eventually};

use crate::cases::{conclude, form};
use crate::scene::{SOON, Scene, usual};

/// The breaker looks again after half a minute; the rest is for a machine that does much else.
const LOOKS_AGAIN: Duration = Duration::from_secs(45);

/// The usual workers, of which those that work must not fail although CKAN does not answer well.
const NOT_BURNT: [(&str, End); 3] =
    [("actor", End::Done), ("actor2", End::Done), ("actor3", End::Dead("attempts_exhausted"))];

/// Portals that are in one of these moods each while there is work, and then well.
fn moody(broker: &'static Broker, settings: &str, moods: &[Mood]) -> Verdict {
    std::thread::scope(|scope| {
        let scenes = moods.iter().map(|mood| scope.spawn(|| one_mood(broker, settings, *mood)));
        let scenes: Vec<_> = scenes.collect();
        let verdicts = scenes.into_iter().map(|scene| scene.join().unwrap());
        verdicts.reduce(Verdict::and).expect("there are moods")
    })
}

fn one_mood(broker: &'static Broker, settings: &str, mood: Mood) -> Verdict {
    let mut scene = Scene::at(broker, "moody", &NOT_BURNT);
    scene.play(settings);
    scene.publish(20, "before", usual(0));
    let mut more = Verdict::default();
    more.expect(eventually(SOON, || scene.seen().iter().any(Seen::is_success)), "work has begun");
    scene.witness.set(mood);
    scene.publish(40, "meanwhile", usual(5));
    // As long as a worker would need to use up its attempts, and longer.
    std::thread::sleep(Duration::from_secs(3));
    let asked = scene.seen().iter().filter(|seen| !seen.was_well).count();
    more.expect(asked > 0, format!("{mood:?}: somebody asks"));
    let dead = scene.dead().iter().filter(|letter| letter.worker != "actor3").count();
    more.expect(dead == 0, format!("{mood:?}: no dead letters because of CKAN, but there are {dead}"));
    scene.witness.set(Mood::Well);
    let (well, before) = (Instant::now(), successes(&mut scene));
    let goes_on = eventually(LOOKS_AGAIN, || successes(&mut scene) > before);
    more.expect(goes_on, format!("{mood:?}: work goes on within {LOOKS_AGAIN:?}"));
    more.note(format!("{mood:?}: {asked} calls, went on after {:.1} s", well.elapsed().as_secs_f64()));
    let mut verdict = scene.judge(form().within, |_| {}).and(more);
    scene.stop(&mut verdict);
    verdict
}

fn successes(scene: &mut Scene) -> usize {
    scene.seen().iter().filter(|seen| seen.is_success()).count()
}

#[test]
fn a_portal_that_is_down_costs_no_attempts() {
    let Some(broker) = Broker::shared() else { return };
    let moods = [Mood::Status(503), Mood::Resets, Mood::Status(502), Mood::Trickles];
    let verdict = moody(broker, "ckan.timeout = 1s", &moods);
    conclude("F27a", &verdict, 0);
}

#[test]
fn a_portal_that_has_too_much_to_do_costs_no_attempts() {
    let Some(broker) = Broker::shared() else { return };
    conclude("F27b", &moody(broker, "", &[Mood::TooMany(1)]), 0);
}

#[test]
fn a_portal_that_does_not_accept_the_token_pauses_the_workers_and_kills_no_backlog() {
    let Some(broker) = Broker::shared() else { return };
    let verdict = moody(broker, "", &[Mood::Status(401), Mood::Status(403)]);
    conclude("F27c", &verdict, 0);
}
