//! The commands for dead letters and for the queue, as an operator types them: the real binary, on a real broker and on
//! an SQLite file, with the same questions in the same words.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
#![expect(clippy::needless_pass_by_value, reason = "each question has a bench of its own")]

#[path = "dead_letters/amqp_only.rs"]
mod amqp_only;
#[path = "dead_letters/bench.rs"]
mod bench;
#[path = "dead_letters/changed.rs"]
mod changed;
#[path = "dead_letters/looked_at.rs"]
mod looked_at;

use bench::Bench;

macro_rules! on_both {
    ($($module:ident { $($question:ident)* })*) => {
        mod sqlite {
            $($(#[test]
            fn $question() {
                super::$module::$question(super::Bench::sqlite());
            })*)*
        }
        mod amqp {
            $($(#[test]
            fn $question() {
                let Some(bench) = super::Bench::amqp() else { return };
                super::$module::$question(bench);
            })*)*
        }
    };
}

on_both! {
    looked_at {
        dead_letters_are_listed_with_what_is_known_of_them
        the_list_can_be_narrowed_down
        one_is_shown_by_the_beginning_of_its_id
        what_is_exported_is_complete_and_stays
        without_a_queue_there_is_nothing_to_see
        the_status_counts_what_is_ready_waits_and_is_dead
    }
    changed {
        what_is_put_back_runs_again_for_its_worker_alone
        only_what_is_meant_is_put_back
        what_is_dropped_is_gone_and_the_rest_stays
        many_are_dropped_from_among_others
        nothing_is_done_without_a_yes
        a_replay_that_is_killed_half_way_loses_nothing
        a_replay_takes_its_time_if_it_is_told_to
    }
}
