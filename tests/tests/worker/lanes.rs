//! One dataset in order, different datasets side by side.

use worker_tests::{Broker, Consumed};

use crate::stage::{Stage, package, resource};

#[test]
fn notifications_about_one_dataset_come_one_after_another_and_different_datasets_side_by_side() {
    let Some(broker) = Broker::shared() else { return };
    let mut stage = Stage::old(broker, "lanes", "concurrency = 4\nqueue.prefetch = 50");
    let datasets = ["d0", "d1", "d2", "d3"];
    for round in 0..3 {
        for dataset in datasets {
            stage.publish([
                package(dataset, "sleep_ms:40"),
                resource(&format!("{dataset}-r{round}"), dataset, "sleep_ms:40"),
            ]);
        }
    }

    stage.run_until_empty(&["actor", "actor2"]);

    let runs = stage.runs();
    for dataset in datasets {
        let lane: Vec<&Consumed> = runs.iter().filter(|run| run.package_id.as_deref() == Some(dataset)).collect();
        for pair in lane.windows(2) {
            assert!(!pair[0].overlaps(pair[1]), "{pair:#?}");
        }
        let of_one = lane.iter().filter(|run| run.worker == "actor").map(|run| run.id.clone().unwrap());
        let published = (0..3).flat_map(|round| [dataset.to_owned(), format!("{dataset}-r{round}")]);
        assert!(of_one.eq(published), "{lane:#?}");
        let workers: Vec<_> = lane.iter().map(|run| run.worker.as_str()).collect();
        assert_eq!(workers, ["actor", "actor2"].repeat(6), "each notification goes the way of the command line");
    }
    let beside = runs.iter().filter(|run| runs.iter().any(|other| run.overlaps(other) && run.thread != other.thread));
    assert!(beside.count() > runs.len() / 2, "{runs:#?}");
}
