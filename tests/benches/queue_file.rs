//! How fast messages go through a queue in an SQLite file, and how much is written for it: published together, taken
//! and settled as a host does, for bodies of several sizes.
//!
//! `cargo bench -p worker-tests --bench queue_file`; `-- 400,20480,1048576` for bodies of other sizes.

#![expect(clippy::print_stdout, reason = "a bench prints what it measured")]
#![expect(clippy::unwrap_used, reason = "a bench that cannot go on has failed")]

use std::time::Instant;

use ckan_worker::Config;
use ckan_worker::source::{self, Message};
use futures_util::future::join_all;

/// How many bytes are published for each size of a body, and how many messages at most.
const BYTES: usize = 200 << 20;
const MESSAGES_MAX: usize = 20_000;

/// How many deliveries are in hand at once.
const IN_HAND: usize = 64;

fn main() {
    let named = std::env::args().find(|argument| argument.starts_with(|letter: char| letter.is_ascii_digit()));
    let sizes = named.unwrap_or_else(|| "400,4096,20480,1048576".to_owned());
    println!(
        "{:>8} {:>9} {:>12} {:>12} {:>22}",
        "bytes", "messages", "published/s", "consumed/s", "written per body byte"
    );
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    for size in sizes.split(',') {
        runtime.block_on(measure(size.parse().unwrap()));
    }
}

#[expect(clippy::cast_precision_loss, reason = "figures to look at")]
async fn measure(size: usize) {
    let dir = tempfile::tempdir().unwrap();
    let url = format!("sqlite:{}", dir.path().join("queue.db").display());
    let settings = Config::from_map([("ckan.site_id", "portal"), ("amqp.url", url.as_str())]).unwrap().queue;
    let count = (BYTES / size).min(MESSAGES_MAX);
    let body = bytes::Bytes::from(vec![b'x'; size]);
    let (before, began) = (written(), Instant::now());
    let publisher = source::open_publisher(&settings).unwrap();
    for chunk in (0..count).collect::<Vec<_>>().chunks(256) {
        let message = || Message { routing_key: "Package".to_owned(), body: body.clone(), id: None, only: None };
        join_all(chunk.iter().map(|_| publisher.publish(message()))).await.into_iter().for_each(Result::unwrap);
    }
    let took_in = began.elapsed();
    let began = Instant::now();
    let mut source = source::open(&settings, IN_HAND).unwrap();
    let mut taken = 0;
    while taken < count {
        let batch = source.next(IN_HAND).await.unwrap();
        taken += batch.len();
        source.settle(batch.into_iter().map(|delivery| delivery.receipt).collect());
    }
    source.close().await;
    let rate = |took: std::time::Duration| count as f64 / took.as_secs_f64();
    let ratio = (written() - before) as f64 / (count * size) as f64;
    println!("{size:>8} {count:>9} {:>12.0} {:>12.0} {ratio:>22.2}", rate(took_in), rate(began.elapsed()));
}

/// How many bytes this process has had written so far.
fn written() -> u64 {
    let io = std::fs::read_to_string("/proc/self/io").unwrap();
    let line = io.lines().find_map(|line| line.strip_prefix("wchar: ")).unwrap();
    line.parse().unwrap()
}
