//! What is done to the queue in its file.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use rusqlite::{OptionalExtension as _, Row, Transaction, params};

use super::clock::{millis, now_ms, time};
use super::leases::{LEASE, Leases};
use super::store::Store;
use super::waiting::Alarm;
use super::{holder, statements};
use crate::delivery::{Delivery, DeliveryId, Past, Receipt};
use crate::source::{Message, Settings, SourceError};

/// The file of a queue, open.
pub struct QueueFile {
    pub(super) store: Store,
    pub(super) queue: String,
    /// The one class that is consumed; `None` for all.
    pub(super) only_class: Option<String>,
    /// A name that nobody else has who holds messages, in this process or another.
    pub(super) holder: String,
    /// This file's number among those that this process opened, so that a receipt of another is known.
    session: u64,
    /// How many bytes of bodies may be in hand at about the same time, and the size of each that is.
    in_hand_bytes_max: usize,
    in_hand: HashMap<u64, usize>,
    in_hand_bytes: usize,
    pub(super) leases: Leases,
    pub(super) alarm: Alarm,
}

/// What a message was published with, beside its body.
pub struct Published {
    pub(super) routing_key: Box<str>,
    pub(super) at_ms: i64,
    pub(super) replayed: u32,
}

impl QueueFile {
    /// Opens the file, making it and its folder if need be, and takes back what dead processes held.
    pub fn open(path: &Path, settings: &Settings) -> Result<Self, SourceError> {
        let store = Store::open(path)?;
        let routing_key = settings.routing_key.as_str();
        let (holder, session) = holder::next();
        let mut file = Self {
            store,
            queue: settings.name.clone(),
            only_class: (!matches!(routing_key, "*" | "#")).then(|| routing_key.to_owned()),
            holder,
            session,
            in_hand_bytes_max: settings.prefetch_bytes,
            in_hand: HashMap::new(),
            in_hand_bytes: 0,
            leases: Leases::new(LEASE),
            alarm: Alarm::new(now_ms()),
        };
        file.take_back()?;
        Ok(file)
    }

    /// Puts messages on the queue.
    pub fn publish(&mut self, messages: &[Message]) -> Result<(), SourceError> {
        let (queue, now) = (&self.queue, now_ms());
        self.store.write(|change| messages.iter().try_for_each(|message| put(change, queue, message, now)))
    }

    /// Claims what waits, oldest first, at most `max`, and not much more than may be in hand.
    pub fn claim(&mut self, max: usize) -> Result<Vec<Delivery>, SourceError> {
        let room = count(self.in_hand_bytes_max.saturating_sub(self.in_hand_bytes));
        let has_none = self.in_hand.is_empty();
        // Looking costs nobody the right to write.
        match self.next_size()? {
            None => {
                self.take_back_now_and_then()?;
                return Ok(Vec::new());
            }
            Some(size) if size > room && !has_none => return Ok(Vec::new()),
            Some(_) => {}
        }
        let (queue, holder, only_class, session) = (&self.queue, &self.holder, &self.only_class, self.session);
        let until = now_ms() + millis(LEASE);
        let sizes = self.sizes();
        let claim = if only_class.is_none() { statements::CLAIM } else { statements::CLAIM_OF_CLASS };
        let mut claimed = self.store.write(|change| {
            let mut sizes = change.prepare_cached(sizes)?;
            let sizes = sizes.query_map(params![queue, count(max), only_class], |row| row.get::<_, i64>(0))?;
            let fitting = fitting(sizes, room, has_none)?;
            let mut claim = change.prepare_cached(claim)?;
            let rows = claim
                .query_map(params![queue, count(fitting), only_class, holder, until], |row| delivery(row, session))?;
            rows.collect::<Result<Vec<_>, _>>()
        })?;
        // The order in which an update answers its rows is not promised.
        claimed.sort_unstable_by_key(|delivery| delivery.receipt.tag);
        for delivery in &claimed {
            // It may have been ours before, and its lease have run out.
            let earlier = self.in_hand.insert(delivery.receipt.tag, delivery.body.len()).unwrap_or_default();
            self.in_hand_bytes = self.in_hand_bytes + delivery.body.len() - earlier;
        }
        Ok(claimed)
    }

    fn sizes(&self) -> &'static str {
        if self.only_class.is_none() { statements::SIZES } else { statements::SIZES_OF_CLASS }
    }

    /// The size of the message that is next, if one waits.
    fn next_size(&self) -> Result<Option<i64>, SourceError> {
        self.store.read(|file| {
            let mut sizes = file.prepare_cached(self.sizes())?;
            sizes.query_row(params![self.queue, 1, self.only_class], |row| row.get(0)).optional()
        })
    }

    /// Takes settled messages off the queue, if this process still holds them.
    pub fn settle(&mut self, receipts: &[Receipt]) -> Result<(), SourceError> {
        let holder = self.holder.clone();
        self.for_each(receipts, |change, tag| {
            let mut settle = change.prepare_cached(statements::SETTLE)?;
            let mut bodies = settle.query_map(params![tag, holder], |row| row.get(0))?;
            bodies.try_for_each(|body| drop_body(change, body?))
        })
    }

    /// Gives messages back.
    pub fn release(&mut self, receipts: &[Receipt]) -> Result<(), SourceError> {
        let holder = self.holder.clone();
        self.for_each(receipts, |change, tag| {
            change.prepare_cached(statements::RELEASE)?.execute(params![tag, holder]).map(drop)
        })
    }

    fn for_each(
        &mut self,
        receipts: &[Receipt],
        work: impl Fn(&Transaction<'_>, i64) -> rusqlite::Result<()>,
    ) -> Result<(), SourceError> {
        let of_ours = || receipts.iter().filter(|receipt| receipt.session == self.session);
        if of_ours().next().is_none() {
            return Ok(());
        }
        self.store.write(|change| of_ours().try_for_each(|receipt| work(change, receipt.tag.cast_signed())))?;
        for receipt in of_ours() {
            self.in_hand_bytes -= self.in_hand.remove(&receipt.tag).unwrap_or_default();
        }
        Ok(())
    }

    /// How many messages wait or are held by this source.
    pub fn depth(&mut self) -> Result<u64, SourceError> {
        self.bring_what_is_due()?;
        Ok(self.waiting()? + self.held()?)
    }

    /// How many messages this source holds.
    pub(super) fn held(&self) -> Result<u64, SourceError> {
        self.store.read(|file| {
            let held =
                file.query_row(statements::HELD, params![self.queue, self.holder], |row| row.get::<_, i64>(0))?;
            Ok(held.unsigned_abs())
        })
    }

    /// How many messages wait.
    fn waiting(&self) -> Result<u64, SourceError> {
        let of_all = self.only_class.is_none();
        let sql = if of_all { statements::WAITING } else { statements::WAITING_OF_CLASS };
        self.store.read(|file| {
            let values = params![self.queue, self.only_class];
            let waiting = file.prepare_cached(sql)?.query_row(values, |row| row.get::<_, i64>(0))?;
            Ok(waiting.unsigned_abs())
        })
    }

    /// Deletes what waits; answers how many messages that were.
    pub fn purge(&mut self) -> Result<u64, SourceError> {
        let queue = &self.queue;
        self.store.write(|change| {
            change.execute(statements::PURGE_BODIES, [queue])?;
            change.execute(statements::PURGE, [queue]).map(|deleted| deleted as u64)
        })
    }
}

/// How many of what waits fit into the room for bodies; one at least, if there is none in hand.
fn fitting(sizes: impl Iterator<Item = rusqlite::Result<i64>>, room: i64, has_none: bool) -> rusqlite::Result<usize> {
    let (mut fitting, mut bytes) = (0, 0_i64);
    for size in sizes {
        bytes = bytes.saturating_add(size?);
        if bytes > room && !(has_none && fitting == 0) {
            break;
        }
        fitting += 1;
    }
    Ok(fitting)
}

fn delivery(row: &Row<'_>, session: u64) -> rusqlite::Result<Delivery> {
    let tag: i64 = row.get(0)?;
    let id: String = row.get(1)?;
    let body: Vec<u8> = row.get(2)?;
    let deliveries: i64 = row.get(3)?;
    let published = Published { routing_key: row.get(4)?, at_ms: row.get(5)?, replayed: row.get(6)? };
    let worker: Option<Box<str>> = row.get(7)?;
    let past = match worker {
        None => None,
        Some(worker) => Some(Box::new(Past {
            worker,
            attempts: row.get(8)?,
            hops: row.get(9)?,
            first_seen: time(row.get::<_, Option<i64>>(10)?.unwrap_or_else(now_ms)),
            held_since: row.get::<_, Option<i64>>(11)?.map(time),
        })),
    };
    Ok(Delivery {
        id: DeliveryId::Named(id.into()),
        body: body.into(),
        past,
        redelivered: deliveries > 1,
        receipt: Receipt { session, tag: tag.unsigned_abs() },
        origin: Some(Arc::new(published)),
    })
}

/// Puts a message on a queue.
pub(super) fn put(change: &Transaction<'_>, queue: &str, message: &Message, now: i64) -> rusqlite::Result<()> {
    let Message { routing_key, body, id, only } = message;
    let (size, body) = put_body(change, body)?;
    let mut insert = change.prepare_cached(statements::PUBLISH)?;
    insert.execute(params![queue, routing_key, id, now, size, body, only]).map(drop)
}

/// Writes a body; answers its size and its id.
pub(super) fn put_body(change: &Transaction<'_>, body: &[u8]) -> rusqlite::Result<(i64, i64)> {
    change.prepare_cached(statements::PUT_BODY)?.execute([body])?;
    Ok((count(body.len()), change.last_insert_rowid()))
}

/// Deletes a body that nothing refers to any more.
pub(super) fn drop_body(change: &Transaction<'_>, body: i64) -> rusqlite::Result<()> {
    change.prepare_cached(statements::DROP_BODY)?.execute([body]).map(drop)
}

/// A number as it stands in the file.
pub(super) fn count(number: usize) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
