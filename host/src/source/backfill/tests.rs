use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use futures_util::FutureExt as _;
use tokio::sync::Notify;

use super::*;
use crate::delivery::{DeliveryId, Letter};

/// A source as the test wants it, and what it was told.
#[derive(Clone, Default)]
struct Stage(Arc<Inside>);

#[derive(Default)]
struct Inside {
    session: u64,
    waits: Mutex<VecDeque<u64>>,
    told: Mutex<Vec<String>>,
    depth: AtomicUsize,
    is_ill: std::sync::atomic::AtomicBool,
    more: Notify,
}

struct Actor(Stage);

impl Stage {
    fn of_session(session: u64) -> Self {
        Self(Arc::new(Inside { session, ..Inside::default() }))
    }

    fn source(&self) -> Box<dyn Source> {
        Box::new(Actor(self.clone()))
    }

    fn add(&self, tags: impl IntoIterator<Item = u64>) {
        self.0.waits.lock().unwrap().extend(tags);
        self.0.more.notify_one();
    }

    fn told(&self) -> Vec<String> {
        std::mem::take(&mut *self.0.told.lock().unwrap())
    }

    fn tell(&self, what: &str, receipts: &[Receipt]) {
        assert!(receipts.iter().all(|receipt| receipt.session == self.0.session), "{receipts:?}");
        let tags: Vec<_> = receipts.iter().map(|receipt| receipt.tag.to_string()).collect();
        self.0.told.lock().unwrap().push(format!("{what} {}", tags.join(" ")).trim_end().to_owned());
    }
}

#[async_trait]
impl Source for Actor {
    async fn next(&mut self, max: usize) -> Result<Vec<Delivery>, SourceError> {
        loop {
            if self.0.0.is_ill.load(Ordering::Relaxed) {
                return Err(SourceError::Unusable("it is gone".to_owned()));
            }
            let batch: Vec<u64> = {
                let mut waits = self.0.0.waits.lock().unwrap();
                let count = waits.len().min(max);
                waits.drain(..count).collect()
            };
            if !batch.is_empty() {
                return Ok(batch.into_iter().map(|tag| delivery(self.0.0.session, tag)).collect());
            }
            self.0.0.more.notified().await;
        }
    }

    fn settle(&mut self, receipts: Vec<Receipt>) {
        self.0.tell("settle", &receipts);
    }

    fn release(&mut self, receipts: Vec<Receipt>) {
        self.0.tell("release", &receipts);
    }

    fn stop(&mut self) {
        self.0.tell("stop", &[]);
    }

    fn pause(&mut self) {
        self.0.tell("pause", &[]);
    }

    fn resume(&mut self) {
        self.0.tell("resume", &[]);
    }

    async fn depth(&mut self) -> Result<u64, SourceError> {
        Ok(self.0.0.depth.load(Ordering::Relaxed) as u64)
    }

    fn letters(&self) -> Arc<dyn Letters> {
        Arc::new(Letterbox)
    }

    async fn close(self: Box<Self>) {
        self.0.tell("close", &[]);
    }
}

struct Letterbox;

#[async_trait]
impl Letters for Letterbox {
    async fn keep(&self, _letter: &Letter) -> Result<(), SourceError> {
        Ok(())
    }

    fn blocked(&self) -> Option<String> {
        None
    }
}

fn delivery(session: u64, tag: u64) -> Delivery {
    Delivery {
        id: DeliveryId::Numbered(session, tag),
        body: bytes::Bytes::new(),
        past: None,
        redelivered: false,
        receipt: Receipt { session, tag },
        origin: None,
    }
}

/// A queue, its lane, and both together with room for `in_hand_max`.
fn both(in_hand_max: usize) -> (Stage, Stage, WithBackfill) {
    let (live, lane) = (Stage::of_session(7), Stage::of_session(9));
    let found = lane.clone();
    let find: Find = Box::new(move || {
        let lane = found.source();
        Box::pin(async move { Ok(Some(lane)) })
    });
    let source = WithBackfill::new(live.source(), Lookout::new(find, Duration::from_secs(2)), in_hand_max);
    (live, lane, source)
}

fn tags(batch: &[Delivery]) -> Vec<u64> {
    batch.iter().map(|delivery| delivery.receipt.tag).collect()
}

fn receipts(batch: Vec<Delivery>) -> Vec<Receipt> {
    batch.into_iter().map(|delivery| delivery.receipt).collect()
}

async fn take(source: &mut WithBackfill, max: usize) -> Vec<Delivery> {
    source.next(max).await.unwrap()
}

/// Whether nothing comes however long one waits.
async fn nothing_comes(source: &mut WithBackfill, max: usize) -> bool {
    tokio::time::timeout(Duration::from_secs(100), source.next(max)).await.is_err()
}

#[tokio::test(start_paused = true)]
async fn what_waits_in_the_queue_itself_comes_before_all_that_waits_in_the_lane() {
    let (live, lane, mut source) = both(8);
    lane.add(100..200);
    assert_eq!(tags(&take(&mut source, 8).await), [100, 101, 102, 103]);
    live.add(1..3);
    assert_eq!(tags(&take(&mut source, 4).await), [1, 2]);
}

#[tokio::test(start_paused = true)]
async fn the_lane_has_its_turn_only_when_the_queue_itself_was_asked_and_had_nothing() {
    let (live, lane, mut source) = both(8);
    lane.add(100..200);
    let first = take(&mut source, 8).await;
    live.add(1..5);
    let second = take(&mut source, 4).await;
    assert_eq!(second.len(), 4);
    source.settle(receipts(first));
    // As a file does, it answers a moment after it was asked.
    let slow = async {
        tokio::time::sleep(QUIET / 2).await;
        live.add([5]);
    };
    let (third, ()) = tokio::join!(take(&mut source, 4), slow);
    assert_eq!(tags(&third), [5]);
}

#[tokio::test(start_paused = true)]
async fn a_queue_whose_deliveries_were_all_in_hand_is_given_time_to_send_more() {
    let (live, lane, mut source) = both(4);
    assert!(nothing_comes(&mut source, 4).await, "the lane is found");
    live.add(1..5);
    let taken = take(&mut source, 4).await;
    lane.add(100..200);
    source.settle(receipts(taken));
    let slow = async {
        tokio::time::sleep(QUIET_WHEN_FULL / 2).await;
        live.add([5]);
    };
    let (next, ()) = tokio::join!(take(&mut source, 4), slow);
    assert_eq!(tags(&next), [5]);
}

#[tokio::test(start_paused = true)]
async fn half_of_what_may_be_in_hand_is_the_lanes_and_one_at_least() {
    for (in_hand_max, expected) in [(1, 1), (2, 1), (3, 1), (8, 4)] {
        let (live, lane, mut source) = both(in_hand_max);
        lane.add(100..200);
        let taken = take(&mut source, in_hand_max).await;
        assert_eq!(taken.len(), expected);
        assert!(nothing_comes(&mut source, in_hand_max).await, "{in_hand_max}");
        live.add([1]);
        assert_eq!(tags(&take(&mut source, in_hand_max).await), [1], "there is room for a change");
        source.settle(receipts(taken));
        assert_eq!(take(&mut source, in_hand_max).await.len(), expected, "and then the lane goes on");
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_lost_session_held_takes_no_room_once_the_next_delivers() {
    let (live, _, _) = both(1);
    let mut held = Held::default();
    held.take(&[delivery(1, 1), delivery(1, 2)]);
    assert_eq!(held.len(), 2);
    held.take(&[delivery(2, 1)]);
    held.give(&[Receipt { session: 1, tag: 1 }]);
    assert_eq!(held.len(), 1);
    held.give(&[Receipt { session: 2, tag: 1 }]);
    assert_eq!((held.len(), live.told().len()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn each_gets_its_own_receipts_back() {
    let (live, lane, mut source) = both(8);
    lane.add([1, 2, 3]);
    let mut of_lane = receipts(take(&mut source, 8).await);
    live.add([1, 2, 3]);
    let mut of_live = receipts(take(&mut source, 8).await);
    assert!(of_lane.iter().all(|receipt| receipt.session > of_live[0].session));
    source.settle(vec![of_lane.remove(0), of_live.remove(0)]);
    source.release(vec![of_live.remove(0), of_lane.remove(0)]);
    source.settle(of_lane);
    assert_eq!(live.told(), ["settle 1", "release 2"]);
    assert_eq!(lane.told(), ["settle 1", "release 2", "settle 3"]);
}

#[tokio::test(start_paused = true)]
async fn a_call_that_is_dropped_loses_nothing_of_either() {
    let (live, lane, mut source) = both(4);
    assert!(source.next(4).now_or_never().is_none());
    live.add([1]);
    lane.add([100]);
    let mut seen = Vec::new();
    while seen.len() < 2 {
        if let Some(batch) = source.next(4).now_or_never() {
            seen.extend(tags(&batch.unwrap()));
        }
        tokio::time::advance(Duration::from_millis(1)).await;
    }
    assert_eq!(seen, [1, 100]);
}

#[tokio::test(start_paused = true)]
async fn what_is_delivered_beyond_the_room_waits_here_and_goes_back_with_a_pause() {
    let (live, lane, mut source) = both(8);
    lane.add([100]);
    take(&mut source, 8).await;
    source.live.surplus.extend((1..4).map(|tag| delivery(7, tag)));
    assert_eq!(tags(&take(&mut source, 1).await), [1]);
    source.pause();
    assert_eq!((live.told(), lane.told()), (vec!["pause".into(), "release 2 3".into()], vec!["pause".into()]));
    source.resume();
    lane.add([101]);
    assert_eq!(tags(&take(&mut source, 8).await), [101]);
    source.stop();
    Box::new(source).close().await;
    assert_eq!(
        (live.told(), lane.told()),
        (
            ["resume", "stop", "close"].map(String::from).to_vec(),
            ["resume", "stop", "close"].map(String::from).to_vec()
        )
    );
}

#[tokio::test(start_paused = true)]
async fn the_depth_is_that_of_both_also_before_the_lane_was_found() {
    let (live, lane, mut source) = both(8);
    lane.0.depth.store(5, Ordering::Relaxed);
    live.0.depth.store(2, Ordering::Relaxed);
    assert_eq!(source.depth().await.unwrap(), 2, "it is not empty anyhow");
    live.0.depth.store(0, Ordering::Relaxed);
    assert_eq!(source.depth().await.unwrap(), 5);
    live.0.depth.store(2, Ordering::Relaxed);
    assert_eq!(source.depth().await.unwrap(), 7);
}

#[tokio::test(start_paused = true)]
async fn without_a_lane_it_is_looked_for_less_and_less_often() {
    let (live, looks) = (Stage::of_session(7), Arc::new(AtomicUsize::new(0)));
    let counted = Arc::clone(&looks);
    let find: Find = Box::new(move || {
        let looks = Arc::clone(&counted);
        Box::pin(async move {
            looks.fetch_add(1, Ordering::Relaxed);
            Ok(None)
        })
    });
    let mut source = WithBackfill::new(live.source(), Lookout::new(find, Duration::from_secs(60)), 4);
    for (seconds, expected) in [(1, 1), (30, 5), (600, 15)] {
        let waits = tokio::time::timeout(Duration::from_secs(seconds), source.next(4));
        assert!(waits.await.is_err());
        assert_eq!(looks.load(Ordering::Relaxed), expected, "after {seconds} s more");
    }
}

#[tokio::test(start_paused = true)]
async fn a_lane_that_cannot_be_consumed_does_not_end_the_work_and_is_looked_for_again() {
    let (live, lane, mut source) = both(8);
    lane.add([100]);
    let taken = take(&mut source, 8).await;
    lane.0.is_ill.store(true, Ordering::Relaxed);
    assert!(nothing_comes(&mut source, 8).await);
    // Its source has given them back when it went.
    source.settle(receipts(taken));
    live.add([1]);
    assert_eq!(tags(&take(&mut source, 8).await), [1]);
    lane.0.is_ill.store(false, Ordering::Relaxed);
    lane.add([101]);
    assert_eq!(tags(&take(&mut source, 8).await), [101]);
    assert_eq!((live.told(), lane.told()), (vec![], vec![]));
}

#[tokio::test(start_paused = true)]
async fn what_is_settled_while_a_lane_is_lost_does_not_hold_the_next_one_back() {
    let (live, lane, mut source) = both(4);
    assert!(nothing_comes(&mut source, 4).await, "the lane is found");
    live.add(1..5);
    let taken = receipts(take(&mut source, 4).await);
    lane.0.is_ill.store(true, Ordering::Relaxed);
    assert!(nothing_comes(&mut source, 4).await, "the lane is lost");
    source.settle(taken);
    lane.0.is_ill.store(false, Ordering::Relaxed);
    lane.add([100]);
    assert_eq!(tags(&take(&mut source, 4).await), [100]);
    live.add([5]);
    let taken = receipts(take(&mut source, 4).await);
    source.settle(taken);
    lane.add([101]);
    let settled = Instant::now();
    assert_eq!(tags(&take(&mut source, 4).await), [101]);
    assert!(settled.elapsed() < QUIET_WHEN_FULL, "no more than one of four was in hand");
}
