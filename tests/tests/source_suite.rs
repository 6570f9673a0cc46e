//! The exam that every source sits: the same questions in the same words. Another source is one line more at the end.
#![expect(clippy::unwrap_used, reason = "a test may panic, in what it calls too")]

#[path = "source_suite/amqp_ladder.rs"]
mod amqp_ladder;
#[path = "source_suite/amqp_only.rs"]
mod amqp_only;
#[path = "source_suite/amqp_session.rs"]
mod amqp_session;
#[path = "source_suite/amqp_topology.rs"]
mod amqp_topology;
#[path = "source_suite/lab.rs"]
mod lab;
#[path = "source_suite/questions.rs"]
mod questions;
#[path = "source_suite/questions_ladder.rs"]
mod questions_ladder;
#[path = "source_suite/questions_lane.rs"]
mod questions_lane;
#[path = "source_suite/sqlite_only.rs"]
mod sqlite_only;

use lab::Lab;

/// Puts one question to one source; a source that is left out on this machine is not asked.
fn ask(lab: Option<Lab<'static>>, question: impl AsyncFnOnce(&Lab<'static>)) {
    let Some(lab) = lab else { return };
    lab::runtime().block_on(question(&lab));
}

macro_rules! exam {
    ($source:ident, $lab:expr) => {
        exam! { $source, $lab,
            what_was_published_is_delivered_byte_for_byte_and_in_order
            what_is_settled_does_not_come_again
            what_is_settled_out_of_order_does_not_come_again
            what_is_released_comes_again
            what_is_neither_comes_again_and_is_marked_so
            what_a_consumer_that_was_dropped_had_in_hand_comes_again
            no_more_is_handed_out_than_may_be_in_hand
            consumers_share_the_work_without_doing_anything_twice
            a_call_that_is_dropped_loses_nothing_and_brings_nothing_twice
            the_depth_counts_what_waits_and_what_is_handed_out
            a_queue_with_a_message_in_it_is_never_said_to_be_empty
            a_receipt_of_an_earlier_session_does_no_harm
            a_dead_letter_is_kept_with_all_that_is_known_and_the_body_byte_for_byte
            a_very_long_error_does_no_harm
            looking_and_clearing_count_what_waits
            what_failed_comes_again_after_its_delay_for_its_worker_alone
            what_failed_does_not_come_before_its_delay
            what_waits_survives_its_source
            what_is_given_back_by_a_pause_comes_after_it
        }
    };
    ($source:ident, $lab:expr, ladder) => {
        exam! { $source, $lab, questions_ladder:
            what_waits_comes_again_after_its_delay_and_not_before
            what_waits_long_does_not_hold_up_what_waits_shortly
            what_waits_again_and_again_is_still_known
            what_waits_is_not_in_the_way_of_a_pause
        }
    };
    ($source:ident, $lab:expr, lane) => {
        exam! { $source, $lab, questions_lane:
            what_is_in_the_lane_comes_after_what_is_in_the_queue
            what_is_in_the_lane_is_a_fresh_message_for_its_worker_alone
            half_of_what_is_in_hand_is_the_lanes_at_most
            what_is_given_back_to_the_lane_comes_again
            what_fails_in_the_lane_comes_again_on_the_queue
            a_lane_is_only_made_by_who_puts_something_into_it
        }
    };
    ($source:ident, $lab:expr, $($question:ident)*) => {
        exam! { $source, $lab, questions: $($question)* }
    };
    ($source:ident, $lab:expr, $questions:ident: $($question:ident)*) => {
        mod $source {
            $(#[test]
            fn $question() {
                super::ask($lab, super::$questions::$question);
            })*
        }
    };
}

exam!(sqlite, super::Lab::sqlite());
exam!(amqp, super::Lab::amqp());
exam!(amqp_waiting, super::Lab::amqp(), ladder);
exam!(sqlite_lane, super::Lab::sqlite(), lane);
exam!(amqp_lane, super::Lab::amqp(), lane);
