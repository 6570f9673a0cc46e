//! What only a broker can be asked.

use ckan_worker::source::{self, SourceError};

use crate::lab::{Lab, message, runtime};

#[test]
fn what_no_queue_takes_is_an_error_and_later_messages_get_through() {
    let Some(lab) = Lab::amqp() else { return };
    // The queue is there, its exchange is not.
    lab.vhost().declare_queue(&lab.settings.name, lapin::types::FieldTable::default());
    runtime().block_on(async {
        let publisher = lab.publisher();
        let error = publisher.publish(message(b"1")).await.unwrap_err().to_string();
        assert!(error.contains(&lab.settings.exchange) && error.contains("no exchange"), "{error}");
        lab.vhost().declare_old_topology(&lab.settings.exchange, &lab.vhost().unique("another"));
        publisher.publish(message(b"2")).await.unwrap();
        publisher.close().await;
    });
    assert_eq!(lab.vhost().ready(&lab.vhost().unique("another")), Some(1));
}

#[test]
fn a_message_that_matches_no_binding_is_an_error() {
    let Some(mut lab) = Lab::amqp() else { return };
    lab.settings.routing_key = "Resource".to_owned();
    runtime().block_on(async {
        let publisher = lab.publisher();
        let error = publisher.publish(message(b"1")).await.unwrap_err().to_string();
        assert!(error.contains("no queue takes it"), "{error}");
        publisher.close().await;
    });
    assert_eq!(lab.vhost().ready(&lab.settings.name), Some(0));
}

#[test]
fn a_queue_that_is_not_to_be_made_is_missed() {
    let Some(mut lab) = Lab::amqp() else { return };
    lab.settings.create = false;
    runtime().block_on(async {
        let error = lab.publisher().publish(message(b"1")).await.unwrap_err();
        assert!(matches!(error, SourceError::Unusable(_)), "{error}");
        let mut source = source::open(&lab.settings, 1).unwrap();
        let error = source.next(1).await.unwrap_err().to_string();
        assert!(error.contains(&lab.settings.name) && error.contains("does not exist"), "{error}");
        source.close().await;
    });
    assert_eq!(lab.vhost().ready(&lab.settings.name), None);
}
