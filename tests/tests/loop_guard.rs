//! Workers that write to CKAN do not react to what they write themselves: over both kinds of queue, with the
//! notification coming before the answer, and with a process that dies in between.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "loop_guard/circle.rs"]
mod circle;

use std::time::Duration;

use serde_json::{Value, json};

use circle::on_every_queue;

#[test]
fn a_worker_that_writes_the_same_each_time_does_its_work_once() {
    on_every_queue("stable", |mut circle| {
        circle.scribe("write = stable");
        circle.announce();
        circle.run_until_quiet();
        assert_eq!(circle.runs(), ["changed"], "{}", circle.worker.report());
        assert_eq!(circle.portal.calls_of("package_revise").len(), 1);
        assert_eq!(circle.remembered(), 1);
        assert_eq!(circle.portal.package(circle.id()).unwrap()["notes"], "written by the scribe");

        // What somebody else changes is new to it.
        circle.portal.edit(circle.id(), |dataset| drop(dataset.insert("title".into(), "Shrubs".into())));
        circle.run_until_quiet();
        assert_eq!(circle.runs().len(), 2);
        // What it writes itself is no input: it has been told once, and what comes now is somebody else's.
        circle.portal.edit(circle.id(), |dataset| drop(dataset.insert("notes".into(), "mine".into())));
        circle.run_until_quiet();
        assert_eq!(circle.runs().len(), 2);
    });
}

#[test]
fn a_worker_that_writes_something_else_each_time_is_called_once_as_long_as_the_host_sees_it_write() {
    on_every_queue("random", |mut circle| {
        for write in ["random", "patch"] {
            circle.scribe(&format!("write = {write}"));
            circle.portal.edit(circle.id(), |dataset| drop(dataset.insert("title".into(), write.into())));
            circle.run_until_quiet();
        }
        assert_eq!(circle.runs(), ["changed", "changed"], "{}", circle.worker.report());
    });
}

#[test]
fn a_worker_that_writes_something_else_each_time_past_the_host_is_quarantined_and_can_be_released() {
    on_every_queue("sneak", |mut circle| {
        let portal = circle.portal.url().trim_start_matches("http://").to_owned();
        circle.scribe(&format!("write = sneak\nportal = {portal}"));
        circle.announce();
        circle.run_until_quiet();
        let runs = circle.runs().len();
        assert_eq!(runs, 6, "it is stopped at the seventh\n{}", circle.worker.report());

        let list = circle.command(&["quarantine", "list", "--format", "json"]);
        let list: Value = serde_json::from_str(&list).unwrap();
        assert_eq!(list["quarantined"][0]["worker"], "scribe");
        assert_eq!(list["quarantined"][0]["about"], circle.id());
        assert!(list["quarantined"][0]["reason"].as_str().unwrap().starts_with("it was called 6 times within 10 min"));

        // The notification that waited is worked on once it is let go, by a worker that behaves by now.
        circle.scribe("write = nothing");
        circle.command(&["quarantine", "release", "scribe", circle.id().to_owned().as_str()]);
        circle.run_until(|circle| circle.runs().len() > runs);
        assert!(circle.command(&["quarantine", "list"]).contains("nothing is in quarantine"));
    });
}

#[test]
fn the_notification_of_a_write_may_come_before_its_answer() {
    on_every_queue("early", |mut circle| {
        circle.scribe("write = stable");
        circle.portal.hold_answers(Duration::from_millis(400));
        circle.announce();
        circle.run_until_quiet();
        assert_eq!(circle.runs(), ["changed"], "{}", circle.worker.report());
    });
}

#[test]
fn a_process_that_dies_between_the_write_and_the_acknowledgement_does_not_repeat_the_work() {
    // After CKAN has it and before it is stored; after that and before the journal; and before the acknowledgement.
    for point in ["ckan-written:1", "store-written:1", "journal-written:1", "before-settle:1"] {
        on_every_queue("died", |mut circle| {
            circle.scribe("write = stable");
            circle.announce();
            circle.die_at(point);
            circle.run_until_quiet();
            assert_eq!(circle.runs(), ["changed"], "{point}\n{}", circle.worker.report());
            assert_eq!(circle.portal.calls_of("package_revise").len(), 1, "{point}");
            assert_eq!(circle.remembered(), 1, "{point}: what it remembers is stored with the end of the run");
        });
    }
}

#[test]
fn what_somebody_changes_while_a_worker_is_at_work_is_no_echo() {
    on_every_queue("meanwhile", |mut circle| {
        circle.scribe("write = stable\nwork_ms = 1500");
        circle.announce();
        circle.start();
        circle.has_begun(1);
        circle.portal.edit(circle.id(), |dataset| drop(dataset.insert("title".into(), "Shrubs".into())));
        circle.ends_once(|circle| circle.runs().len() >= 2);
        circle.run_until_quiet();
        assert_eq!(circle.runs(), ["changed", "changed"], "{}", circle.worker.report());
    });
}

#[test]
fn what_becomes_again_as_it_was_is_looked_at_again() {
    on_every_queue("again", |mut circle| {
        circle.scribe("write = stable");
        for title in ["A", "B", "A"] {
            circle.portal.edit(circle.id(), |dataset| drop(dataset.insert("title".into(), title.into())));
            circle.run_until_quiet();
        }
        assert_eq!(circle.runs().len(), 3, "{}", circle.worker.report());
    });
}

#[test]
fn two_resources_are_two_things_to_a_worker_that_does_not_say_that_it_looks_at_the_whole_dataset() {
    on_every_queue("resources", |mut circle| {
        circle.with_resources(3);
        circle.scribe("write = nothing");
        let ids: Vec<String> = circle.resources();
        circle.portal.edit(circle.id(), |dataset| {
            for resource in dataset["resources"].as_array_mut().unwrap() {
                resource["description"] = "new".into();
            }
        });
        circle.run_until_quiet();
        for id in &ids {
            assert_eq!(circle.runs_on_resource(id), 1, "{}", circle.worker.report());
        }
        // A change of one of them is none of the others.
        circle.portal.edit(circle.id(), |dataset| dataset["resources"][1]["description"] = "newer".into());
        circle.run_until_quiet();
        let runs: Vec<usize> = ids.iter().map(|id| circle.runs_on_resource(id)).collect();
        assert_eq!(runs, [1, 2, 1], "{}", circle.worker.report());
    });
}

#[test]
fn a_write_that_was_not_done_is_done_when_it_is_tried_again() {
    on_every_queue("refused", |mut circle| {
        circle.scribe("write = stable\nfield = qa");
        for _ in 0..3 {
            circle.portal.fail_next("package_revise", 503, "<html>busy</html>");
        }
        circle.announce();
        circle.run_until(|circle| circle.portal.package(circle.id()).unwrap()["qa"] == "written by the scribe");
        circle.run_until_quiet();
        assert_eq!(circle.remembered(), 1, "{}", circle.worker.report());
    });
}

#[test]
fn with_other_settings_a_worker_looks_at_everything_anew() {
    on_every_queue("settings", |mut circle| {
        circle.scribe("write = nothing");
        circle.announce();
        circle.run_until_quiet();
        circle.announce();
        circle.run_until_quiet();
        assert_eq!(circle.runs().len(), 1, "{}", circle.worker.report());
        circle.scribe("write = stable");
        circle.announce();
        circle.run_until_quiet();
        assert_eq!(circle.runs().len(), 2, "{}", circle.worker.report());
    });
}

#[test]
fn fifty_changed_resources_of_a_dataset_are_written_at_once_and_unchanged_ones_not_at_all() {
    on_every_queue("fifty", |mut circle| {
        circle.with_resources(50);
        circle.scribe("write = each\nfield = hash");
        circle.announce();
        circle.run_until_quiet();
        let revised = circle.portal.calls_of("package_revise");
        assert_eq!(revised.len(), 1, "{}", circle.worker.report());
        let written = revised[0].params.as_object().unwrap();
        assert_eq!(written.keys().filter(|key| key.starts_with("update__resources__")).count(), 50);
        for resource in circle.portal.package(circle.id()).unwrap()["resources"].as_array().unwrap() {
            assert_eq!(resource["hash"], json!(format!("hash of {}", resource["id"].as_str().unwrap())));
        }
        // Somebody changes something else, so that it is called again: there is nothing to write.
        circle.portal.edit(circle.id(), |dataset| drop(dataset.insert("title".into(), "Shrubs".into())));
        circle.run_until_quiet();
        assert_eq!((circle.runs().len(), circle.portal.calls_of("package_revise").len()), (2, 1));
    });
}

#[test]
fn what_was_announced_and_never_saved_is_skipped() {
    on_every_queue("phantom", |mut circle| {
        circle.scribe("write = stable");
        circle.publish(&json!({"routing_key": "Package", "operation": "new", "payload": {"id": "00000000-0000-4000-8000-000000000000"}}));
        circle.run_until_quiet();
        assert_eq!(circle.runs(), [""; 0]);
        assert_eq!(circle.portal.calls_of("package_show").len(), 6, "it is looked for a few times");
    });
}

#[test]
fn a_deletion_is_heard_as_such_and_once_however_often_it_is_announced() {
    on_every_queue("deletion", |mut circle| {
        circle.scribe("write = stable");
        circle.announce();
        circle.run_until_quiet();
        circle.portal.edit(circle.id(), |dataset| drop(dataset.insert("state".into(), "deleted".into())));
        circle.announce();
        circle.run_until_quiet();
        circle.portal.edit(circle.id(), |dataset| drop(dataset.insert("state".into(), "active".into())));
        circle.run_until_quiet();
        assert_eq!(circle.runs(), ["changed", "deleted", "changed"], "{}", circle.worker.report());
    });
}

#[test]
fn a_deletion_is_heard_although_an_earlier_notification_has_seen_it_already() {
    on_every_queue("late", |mut circle| {
        circle.scribe("write = nothing");
        // The queue is behind: when the worker hears of the edit, the dataset is deleted.
        circle.portal.edit(circle.id(), |dataset| drop(dataset.insert("title".into(), "Shrubs".into())));
        circle.portal.edit(circle.id(), |dataset| drop(dataset.insert("state".into(), "deleted".into())));
        circle.run_until_quiet();
        assert_eq!(circle.runs(), ["changed", "deleted"], "{}", circle.worker.report());
    });
}

#[test]
fn what_the_portal_knows_to_be_the_workers_own_write_is_an_echo_and_that_of_another_is_not() {
    on_every_queue("origin", |mut circle| {
        circle.scribe("write = nothing");
        let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
        for (title, origin) in [("A", format!("{};scribe", host.trim())), ("B", format!("{};archive", host.trim()))] {
            let payload = json!({ "id": circle.id(), "title": title });
            let meta = json!({ "id": title, "origin": origin });
            circle.publish(
                &json!({ "routing_key": "Package", "operation": "changed", "payload": payload, "meta": meta }),
            );
        }
        circle.run_until_quiet();
        assert_eq!(circle.runs(), ["changed"], "{}", circle.worker.report());
    });
}

#[test]
fn a_dry_run_writes_nothing_and_leaves_everything_in_the_queue() {
    on_every_queue("dry", |mut circle| {
        circle.scribe("write = stable");
        circle.announce();
        let before = circle.portal.package(circle.id());
        circle.worker.start(["--dry-run", "scribe"]);
        assert!(circle.worker.wait(circle::LATER).success(), "{}", circle.worker.report());
        assert_eq!(circle.portal.package(circle.id()), before);
        assert!(circle.portal.calls_of("package_revise").is_empty());
        let said = circle.worker.report();
        assert!(said.contains("written by the scribe"), "what it would write is told: {said}");
        assert!(said.contains("1 notifications were looked at; all of them are still in the queue"), "{said}");
        assert_eq!(circle.remembered(), 0);

        circle.run_until_quiet();
        assert_eq!(circle.portal.calls_of("package_revise").len(), 1, "the notification was still there");
        assert_eq!(circle.remembered(), 1);
    });
}
