//! The suite would notice: with a fault put into the host on purpose, the case that is there for it goes red.

use std::time::Duration;

use worker_tests::{Broker, Verdict};

use crate::broken_broker::{alarm, late_acknowledgement};
use crate::broken_host::kill_at_random;
use crate::broken_line::closed_again_and_again;
use crate::broken_topology::nowhere_to_send;
use crate::cases::form;
use crate::fragile::fragile;
use crate::scene::{KILLED, Scene, USUAL, usual};

/// Long enough for all that is going to come.
const COMES: Duration = Duration::from_secs(15);

#[track_caller]
fn goes_red(fault: &str, is_noticed: bool, verdict: &Verdict) {
    assert!(is_noticed, "the suite has not noticed {fault}: {verdict}");
}

#[test]
fn an_acknowledgement_before_the_run_is_noticed_when_the_host_is_killed() {
    let Some(broker) = Broker::shared() else { return };
    let mut scene = Scene::at(broker, "ack-before-run", &KILLED);
    scene.seed = Some("ack-before-run");
    scene.play("");
    scene.publish(form().messages.min(300), "m", usual(30));
    kill_at_random(&mut scene, 0, 5);
    let verdict = scene.judge(COMES, |_| {});
    goes_red("acknowledging before the run", verdict.counts.lost > 0, &verdict);
}

#[test]
fn an_acknowledgement_that_came_too_late_and_is_ignored_is_noticed_when_connections_are_closed() {
    let Some(broker) = Broker::shared() else { return };
    let verdict = closed_again_and_again(broker, Some("void-ack-ignored"));
    goes_red("ignoring a void acknowledgement", verdict.counts.duplicated > 0, &verdict);
}

#[test]
fn a_confirmation_that_is_not_awaited_is_noticed_when_the_queue_is_gone() {
    let Some(broker) = Broker::shared() else { return };
    let verdict = nowhere_to_send(broker, Some("confirm-not-awaited"), COMES);
    goes_red("not waiting for the confirmation", verdict.counts.lost > 0, &verdict);
}

#[test]
fn one_connection_for_everything_is_noticed_when_the_broker_blocks_it() {
    let Some(fragile) = fragile() else { return };
    let verdict = alarm(fragile.broker(), |on| fragile.is_short_of_memory(on), Some("one-connection"));
    let noticed = verdict.failures.iter().any(|failure| failure.contains("acknowledged during the alarm"));
    goes_red("one connection for everything", noticed, &verdict);
}

#[test]
fn the_recovery_of_the_client_library_is_noticed_when_the_broker_closes_a_channel() {
    let Some(fragile) = fragile() else { return };
    fragile.acknowledgements_take_at_most(2000);
    let verdict = late_acknowledgement(fragile.broker(), Some("auto-recover"), COMES);
    goes_red("the client library's recovery", verdict.counts.lost > 0, &verdict);
}

#[test]
fn without_a_fault_the_same_scene_is_good() {
    let Some(broker) = Broker::shared() else { return };
    let mut scene = Scene::at(broker, "well", &USUAL);
    scene.play("");
    scene.publish(100, "m", usual(5));
    let verdict = scene.judge(form().within, |_| {});
    assert!(verdict.is_good() && verdict.counts.duplicated == 0, "{verdict}");
}
