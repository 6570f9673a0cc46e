//! What a worker makes at a broker, and what it leaves alone.

use ckan_worker::source;
use lapin::options::QueueBindOptions;
use lapin::types::FieldTable;
use lapin::{Connection, ConnectionProperties};
use worker_tests::{Broker, WorkerProcess, built, eventually};

use crate::lab::{Lab, SOON, message, runtime};

/// Asks the node about a queue of the lab, as an Erlang expression over `Q`.
fn of_queue(lab: &Lab<'_>, queue: &str, expression: &str) -> String {
    let vhost = lab.vhost().url().rsplit('/').next().unwrap();
    Broker::shared().unwrap().eval(&format!(
        "{{ok, Q}} = rabbit_amqqueue:lookup(rabbit_misc:r(<<\"{vhost}\">>, queue, <<\"{queue}\">>)), {expression}."
    ))
}

/// How many bindings the queue has to anything but the default exchange.
fn bindings(lab: &Lab<'_>, queue: &str) -> String {
    let count = "length([B || B <- rabbit_binding:list_for_destination(amqqueue:get_name(Q)), \
                 element(4, element(2, B)) =/= <<\"\">>])";
    of_queue(lab, queue, count)
}

fn marked(lab: &Lab<'_>) -> bool {
    lab.vhost().ready(&format!("{}.unbound", lab.settings.name)).is_some()
}

/// A worker process on the lab's queue, not started.
fn worker(lab: &Lab<'_>) -> WorkerProcess {
    WorkerProcess::with_config(&format!(
        "[worker]\nckan.site_id = {}\namqp.url = {}\nqueue.name = {}\nplugin_dir = {}\n[worker:actor]\n",
        lab.settings.exchange,
        lab.vhost().url().replace('%', "%%"),
        lab.settings.name,
        built().plugin_dir.display()
    ))
}

fn start(worker: &mut WorkerProcess, die_at: &str) {
    let mut command = worker.command();
    command.arg("-c").arg(worker.path("worker.cfg")).arg("actor").env("CKAN_WORKER_DIE_AT", die_at);
    worker.spawn(command);
}

async fn with_channel<F: Future<Output = lapin::Result<()>>>(lab: &Lab<'_>, work: impl FnOnce(lapin::Channel) -> F) {
    let connection = Connection::connect(lab.vhost().url(), ConnectionProperties::default()).await.unwrap();
    work(connection.create_channel().await.unwrap()).await.unwrap();
    let _ = connection.close(200, "done".into()).await;
}

async fn unbind(lab: &Lab<'_>, key: &str) {
    let (queue, exchange) = (lab.settings.name.as_str().into(), lab.settings.exchange.as_str().into());
    with_channel(lab, async |channel| channel.queue_unbind(queue, exchange, key.into(), FieldTable::default()).await)
        .await;
}

async fn bind(lab: &Lab<'_>, key: &str) {
    let (queue, exchange) = (lab.settings.name.as_str().into(), lab.settings.exchange.as_str().into());
    with_channel(lab, async |channel| {
        channel.queue_bind(queue, exchange, key.into(), QueueBindOptions::default(), FieldTable::default()).await
    })
    .await;
}

#[test]
fn a_new_queue_hands_out_often_before_the_broker_gives_up_and_keeps_what_it_gives_up_on() {
    let Some(lab) = Lab::amqp() else { return };
    runtime().block_on(async { lab.publish(["1"]).await });
    let queue = &lab.settings.name;
    for (argument, value) in [
        ("x-delivery-limit", "1000".to_owned()),
        ("x-queue-type", "<<\"quorum\">>".to_owned()),
        ("x-dead-letter-strategy", "<<\"at-least-once\">>".to_owned()),
        ("x-dead-letter-routing-key", format!("<<\"{queue}.dead\">>")),
    ] {
        let is_so = format!("element(3, lists:keyfind(<<\"{argument}\">>, 1, amqqueue:get_arguments(Q))) =:= {value}");
        assert_eq!(of_queue(&lab, queue, &is_so), "true", "{argument} is {value}");
    }
    let dead = format!("{}.dead", lab.settings.name);
    assert_eq!(of_queue(&lab, &dead, "amqqueue:get_type(Q)"), "rabbit_quorum_queue");
    assert_eq!((bindings(&lab, &lab.settings.name).as_str(), marked(&lab)), ("1", false));
}

#[test]
fn a_queue_whose_maker_died_before_binding_it_is_bound_by_the_next_one() {
    let Some(lab) = Lab::amqp() else { return };
    let queue = lab.settings.name.clone();
    let mut worker = worker(&lab);
    start(&mut worker, "queue-declared:1");
    assert!(!worker.wait(SOON).success(), "it dies as it was told\n{}", worker.report());
    assert_eq!((lab.vhost().ready(&queue), bindings(&lab, &queue).as_str()), (Some(0), "0"));
    start(&mut worker, "queue-bound:1");
    assert!(!worker.wait(SOON).success(), "and again, a step later\n{}", worker.report());
    assert_eq!((bindings(&lab, &queue).as_str(), marked(&lab)), ("1", true));
    start(&mut worker, "");
    worker.wait_for_line("consuming queue", SOON);
    assert_eq!((bindings(&lab, &queue).as_str(), marked(&lab)), ("1", false));
    worker.kill();
    assert!(eventually(SOON, || !worker.is_running()));
    runtime().block_on(async {
        let publisher = lab.publisher();
        publisher.publish(message(b"1")).await.unwrap();
        publisher.close().await;
    });
    assert_eq!(lab.vhost().ready(&queue), Some(1));
}

#[test]
fn a_queue_that_somebody_has_bound_otherwise_is_left_so() {
    let Some(mut lab) = Lab::amqp() else { return };
    let queue = lab.settings.name.clone();
    runtime().block_on(async {
        lab.publish(["1"]).await;
        unbind(&lab, &lab.settings.routing_key).await;
        bind(&lab, "Resource").await;
        // Even where our own dead queue is gone and another key is asked for.
        lab.vhost().delete_queue(&format!("{queue}.dead"));
        lab.settings.routing_key = "Package".to_owned();
        let mut consumer = lab.open(1);
        consumer.work_off(1).await;
        consumer.close().await;
        let publisher = lab.publisher();
        let error = publisher.publish(message(b"2")).await.unwrap_err().to_string();
        assert!(error.contains("no queue takes it"), "{error}");
        publisher.close().await;
    });
    assert_eq!(bindings(&lab, &queue), "1");
}

#[test]
fn two_that_make_the_queue_at_once_do_not_hinder_each_other() {
    let Some(lab) = Lab::amqp() else { return };
    runtime().block_on(async {
        let consumers: Vec<_> = (0..6).map(|_| lab.open(1)).collect();
        for mut consumer in consumers {
            consumer.depth_becomes(0).await;
            consumer.close().await;
        }
    });
    assert_eq!((bindings(&lab, &lab.settings.name).as_str(), marked(&lab)), ("1", false));
}

#[test]
fn a_name_that_is_too_long_for_the_broker_is_an_error_and_no_panic() {
    let Some(lab) = Lab::amqp() else { return };
    runtime().block_on(async {
        let publisher = source::open_publisher(&lab.settings).unwrap();
        let long = source::Message { routing_key: "x".repeat(300), ..message(b"1") };
        let error = publisher.publish(long).await.unwrap_err().to_string();
        assert!(error.contains("too long"), "{error}");
        let long = source::Message { id: Some("y".repeat(300)), ..message(b"1") };
        let error = publisher.publish(long).await.unwrap_err().to_string();
        assert!(error.contains("too long"), "{error}");
        publisher.publish(message(b"2")).await.unwrap();
        publisher.close().await;
    });
    assert_eq!(lab.vhost().ready(&lab.settings.name), Some(1));
}
