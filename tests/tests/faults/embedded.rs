//! The same exam for the queue in a file.

use worker_tests::{End, Verdict};

use crate::broken_disk::{Disk, full};
use crate::broken_host::{POINTS, asked_to_stop, dies_at, killed_at_random, one_of_two};
use crate::cases::{conclude, form};
use crate::scene::{CONCURRENCY, KILLED, Scene, USUAL};

#[test]
fn a_host_on_a_file_that_is_killed_at_random_loses_nothing() {
    let (verdict, duplicates_max) = killed_at_random(Scene::in_file(&KILLED), form().times);
    conclude("S8", &verdict, duplicates_max);
}

#[test]
fn a_host_on_a_file_that_dies_between_keeping_and_settling_does_nothing_twice() {
    let mut whole = Verdict::default();
    for point in POINTS {
        for nth in [1, 20] {
            whole = whole.and(dies_at(Scene::in_file(&USUAL), point, nth));
        }
    }
    conclude("S9", &whole, POINTS.len() * 2);
}

#[test]
fn jobs_that_run_when_a_host_on_a_file_is_asked_to_stop_come_back() {
    let ends = [("actor", End::Dead("attempts_exhausted"))];
    conclude("S13", &asked_to_stop(Scene::in_file(&ends)), 0);
}

#[test]
fn a_file_whose_disk_is_full_stops_the_work_and_loses_nothing() {
    let Some(disk) = Disk::new("S25") else { return };
    let verdict = full(Scene::in_file_on(disk.path(), &USUAL), &disk, "");
    conclude("S25", &verdict, CONCURRENCY);
}

#[test]
fn two_hosts_on_a_file_of_which_one_is_killed_lose_nothing() {
    let (verdict, duplicates_max) = one_of_two(Scene::in_file(&KILLED), form().times);
    conclude("S28", &verdict, duplicates_max);
}
