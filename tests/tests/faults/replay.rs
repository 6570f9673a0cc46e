//! What happens to dead letters that are given another chance.

use std::time::Duration;

use serde_json::json;
use worker_tests::{Broker, End, Verdict, eventually};

use crate::cases::{conclude, form};
use crate::scene::{SOON, Scene};

#[test]
fn a_replay_that_is_killed_half_way_loses_nothing() {
    let Some(broker) = Broker::shared() else { return };
    let mut scene = Scene::at(broker, "replay", &[("actor", End::Dead("permanent"))]);
    let gate = scene.path("gate");
    scene.play("");
    let count = form().messages.min(1000);
    // Fails for good as long as there is no gate; the second time it is there.
    scene.publish(count, "m", json!({"actor": format!("permanent_without:{};witness", gate.display())}));
    let before = scene.judge(form().within, |_| {});
    let mut more = Verdict::default();
    more.expect(before.is_good(), format!("all is dead before: {before}"));
    scene.stop(&mut more);
    std::fs::write(gate, "").unwrap();
    let rate = count / 3;
    let mut kills = 0;
    for _ in 0..3 {
        let mut replay = worker_tests::WorkerProcess::with_config(
            &std::fs::read_to_string(scene.hosts[0].path("worker.cfg")).unwrap(),
        );
        replay.start(["dead", "retry", "--yes", "--rate", &format!("{rate}/s")]);
        // Some have been sent back, and it is killed in the middle.
        let sent = scene.left();
        eventually(Duration::from_secs(5), || scene.left() > sent || !replay.is_running());
        kills += usize::from(replay.is_running());
        replay.kill();
        replay.wait(SOON);
    }
    let dead = || scene.vhost().ready(&format!("{}.dead", scene.queue)).map_or(0, |ready| ready as usize);
    let both = || scene.left() + dead();
    // What a killed one had in hand goes back in a moment.
    more.expect(eventually(SOON, || both() >= count), format!("dead and sent back: {} of {count}", both()));
    let twice = both().saturating_sub(count);
    // A tenth of a second's worth is sent back before all of it is taken off the dead; the journal knows it later.
    let lot = rate.div_ceil(10);
    more.expect(twice <= kills * lot, format!("at most {lot} twice for each of {kills} kills, but {twice} were"));
    more.expect(kills > 0, "a replay was killed half-way");
    let mut rest =
        worker_tests::WorkerProcess::with_config(&std::fs::read_to_string(scene.hosts[0].path("worker.cfg")).unwrap());
    rest.start(["dead", "retry", "--yes"]);
    more.expect(rest.wait(SOON).success(), format!("the last replay ends well: {}", rest.report()));
    let ids: Vec<String> = (0..count).map(|number| format!("m{number:05}")).collect();
    for id in &ids {
        scene.ledger.expect(id, "actor", End::Done);
    }
    scene.start(0);
    let mut verdict = scene.judge(form().within, |_| {}).and(more);
    verdict.note(format!("{kills} replays killed half-way, {twice} letters sent back twice"));
    scene.stop(&mut verdict);
    conclude("F29", &verdict, kills);
}
