//! What plugins do.

use std::time::Duration;

use serde_json::{Value, json};
use worker_tests::{Broker, End};

use crate::cases::{conclude, form};
use crate::scene::{CONCURRENCY, Scene};

/// Everybody works.
const WELL: [(&str, End); 3] = [("actor", End::Done), ("actor2", End::Done), ("actor3", End::Done)];

/// The same for all three.
fn everybody(act: &str) -> Value {
    json!({"actor": act, "actor2": act, "actor3": act})
}

#[test]
fn a_plugin_that_takes_the_process_with_it_is_set_aside_after_three_deaths_and_bystanders_are_done() {
    let Some(broker) = Broker::shared() else { return };
    let mut scene = Scene::at(broker, "deadly", &WELL);
    scene.play("");
    let deaths = ["segfault", "abort", "exit", "overflow", "exhaust"];
    for death in deaths {
        // The one in the middle dies; those before and behind it have their work done.
        let acts = json!({"actor": "witness", "actor2": format!("sleep_ms:50;{death}"), "actor3": "witness"});
        scene.publish(1, death, acts);
        scene.ledger.expect(&format!("{death}00000"), "actor2", End::Dead("crashed"));
        let all = "sleep_ms:20;witness";
        scene.publish(form().messages.min(100) / deaths.len(), &format!("after-{death}-"), everybody(all));
    }
    let mut restarts = 0;
    let mut verdict = scene.judge(form().within, |scene| {
        // As systemd would.
        if !scene.hosts[0].is_running() {
            restarts += 1;
            scene.start(0);
        }
    });
    verdict.note(format!("{} kinds of death, {restarts} restarts", deaths.len()));
    let (least, most) = (3, 3 * deaths.len() + 3);
    let bounded = (least..=most).contains(&restarts);
    verdict.expect(bounded, format!("from {least} to {most} deaths, but there were {restarts}"));
    scene.stop(&mut verdict);
    // What ran beside the first death of each kind may have told the witness, and not yet the journal.
    conclude("F10", &verdict, deaths.len() * CONCURRENCY);
}

#[test]
fn a_plugin_that_hangs_is_given_up_and_everything_else_goes_on() {
    let Some(broker) = Broker::shared() else { return };
    let mut scene = Scene::at(broker, "hangs", &WELL);
    scene.play("deadline = 1s\ngrace = 1s\nattempts = 2");
    scene.publish(2, "hangs", json!({"actor": "witness", "actor2": "hang", "actor3": "witness"}));
    for id in ["hangs00000", "hangs00001"] {
        scene.ledger.expect(id, "actor2", End::Dead("timed_out"));
    }
    scene.publish(form().messages.min(300), "m", everybody("witness"));
    let mut verdict = scene.judge(form().within, |_| {});
    verdict.expect(scene.hosts[0].is_running(), "the host lives");
    scene.hosts[0].terminate();
    // What hangs cannot be stopped, only left.
    verdict.expect(scene.hosts[0].wait(Duration::from_secs(40)).success(), "and it ends when it is asked to");
    conclude("F11", &verdict, 0);
}

#[test]
fn a_plugin_that_panics_fails_and_the_host_lives() {
    let Some(broker) = Broker::shared() else { return };
    let mut scene = Scene::at(broker, "panics", &WELL);
    scene.play("");
    scene.publish(20, "panics", json!({"actor": "witness", "actor2": "panic", "actor3": "witness"}));
    for number in 0..20 {
        scene.ledger.expect(&format!("panics{number:05}"), "actor2", End::Dead("panicked"));
    }
    scene.publish(form().messages.min(300), "m", everybody("witness"));
    let pid = scene.hosts[0].pid();
    let mut verdict = scene.judge(form().within, |_| {});
    verdict.expect(scene.hosts[0].is_running() && scene.hosts[0].pid() == pid, "the host lives");
    scene.stop(&mut verdict);
    conclude("F12", &verdict, 0);
}

#[test]
fn an_error_text_of_300_kilobytes_is_cut_and_the_connection_stays() {
    let Some(broker) = Broker::shared() else { return };
    let mut scene = Scene::at(broker, "long-errors", &[("actor", End::Dead("permanent"))]);
    scene.play("");
    scene.publish(20, "m", json!({"actor": "error_bytes:300000"}));
    let mut verdict = scene.judge(form().within, |_| {});
    let letters = scene.vhost().peek(&format!("{}.dead", scene.queue));
    let longest = letters.iter().filter_map(|letter| letter.header("x-ckan-worker-error")).map(|error| error.len());
    let longest = longest.max().unwrap_or_default();
    verdict.expect((1000..=2048).contains(&longest), format!("an error of at most 2 KiB, but {longest} bytes"));
    verdict.expect(scene.sessions(0) == 1, format!("one session, but there were {}", scene.sessions(0)));
    verdict.note(format!("cut to {longest} bytes"));
    scene.stop(&mut verdict);
    conclude("F24", &verdict, 0);
}
