//! What a feed brings into the queue's file, and what it asks of it.

use std::collections::BTreeMap;
use std::sync::mpsc::Sender;
use std::time::Duration;

use rusqlite::{OptionalExtension as _, Row, params};
use tokio::sync::oneshot;

use super::clock::{millis, now_ms};
use super::file::{QueueFile, count, put};
use super::keeper::{Order, ask, thread_ended};
use super::statements;
use crate::guard::Fingerprint;
use crate::source::{Message, SourceError};

/// What a feed has found in one step, and how far that brings it. All of it is written down, or nothing.
#[derive(Debug, Default)]
pub struct Intake {
    /// The messages, each with the queue in this file that it is put on.
    pub messages: Vec<(String, Message)>,
    /// What is known of datasets from now on.
    pub seen: Vec<Seen>,
    /// Datasets that are no longer there.
    pub gone: Vec<String>,
    /// Datasets that have been gone for longer than this are forgotten.
    pub forget_gone: Option<Duration>,
    /// Positions, by their names.
    pub progress: Vec<(&'static str, String)>,
    /// What was taken from an outbox, and will have to be acknowledged there.
    pub pulled: Vec<Pulled>,
    /// What has been acknowledged there.
    pub acknowledged: Vec<Pulled>,
}

/// A message of an outbox. Its number alone does not name it: those of an outbox that was made anew begin at 1 again.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Pulled {
    /// Its number there.
    pub id: i64,
    /// Its name.
    pub message_id: String,
}

/// What is known of a dataset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// Its id.
    pub dataset: String,
    /// When it was changed, in the search's own form.
    pub stamp: String,
    /// Stands for all that was listed of it; `None` if it is not to be known again by that.
    pub look: Option<Fingerprint>,
    /// It is deleted, or nobody shows it to us any more.
    pub is_gone: bool,
    /// A short hash of each of its resources, by their ids.
    pub resources: BTreeMap<String, u64>,
}

/// Where a feed writes down what it finds: the way to the thread that owns the file.
#[derive(Clone)]
pub struct Book {
    pub(super) orders: Sender<Order>,
}

impl Book {
    /// Takes in what was found, durably: when this answers, all of it is there.
    ///
    /// # Errors
    /// Nothing of it is there.
    ///
    /// # Cancel safety
    /// When the future is dropped, all of it is there or nothing.
    pub async fn take_in(&self, intake: Intake) -> Result<(), SourceError> {
        ask(&self.orders, |answer| Order::Intake(Box::new(intake), answer)).await
    }

    /// What is known of these datasets; nothing of those that are new.
    ///
    /// # Errors
    /// The file cannot be read.
    pub async fn seen(&self, datasets: Vec<String>) -> Result<BTreeMap<String, Seen>, SourceError> {
        self.answer(move |file| {
            let seen = datasets.iter().filter_map(|dataset| file.seen(dataset).transpose());
            seen.map(|seen| seen.map(|seen| (seen.dataset.clone(), seen))).collect()
        })
        .await
    }

    /// What is known of datasets behind an id and up to another, if there is one, without those that are gone: the first
    /// `max`, in order.
    ///
    /// # Errors
    /// The file cannot be read.
    pub async fn seen_between(
        &self,
        behind: String,
        up_to: Option<String>,
        max: usize,
    ) -> Result<Vec<Seen>, SourceError> {
        self.answer(move |file| file.seen_between(&behind, up_to.as_deref(), max)).await
    }

    /// The positions that were written down, by their names.
    ///
    /// # Errors
    /// The file cannot be read.
    pub async fn progress(&self) -> Result<BTreeMap<String, String>, SourceError> {
        self.answer(QueueFile::progress).await
    }

    /// What was taken from an outbox and is not known to have been acknowledged there.
    ///
    /// # Errors
    /// The file cannot be read.
    pub async fn pulled(&self) -> Result<Vec<Pulled>, SourceError> {
        self.answer(QueueFile::pulled).await
    }

    /// How many messages wait in a queue of this file.
    ///
    /// # Errors
    /// The file cannot be read.
    pub async fn ready(&self, queue: String) -> Result<u64, SourceError> {
        self.answer(move |file| file.ready(&queue)).await
    }

    async fn answer<T: Send + 'static>(
        &self,
        question: impl FnOnce(&QueueFile) -> Result<T, SourceError> + Send + 'static,
    ) -> Result<T, SourceError> {
        let (answer, answered) = oneshot::channel();
        // Who no longer waits has been told to stop meanwhile.
        let question = Order::Ask(Box::new(move |file| drop(answer.send(question(file)))));
        self.orders.send(question).map_err(|_| thread_ended())?;
        answered.await.map_err(|_| thread_ended())?
    }
}

impl QueueFile {
    /// Takes in what a feed has found.
    pub fn take_in(&mut self, intake: &Intake) -> Result<(), SourceError> {
        let (own, now) = (&self.queue, now_ms());
        // What nobody consumes must not pile up here.
        let is_wanted = |message: &Message| self.only_class.as_ref().is_none_or(|class| *class == message.routing_key);
        let wanted = || intake.messages.iter().filter(|(_, message)| is_wanted(message));
        self.store.write(|change| {
            wanted().try_for_each(|(queue, message)| put(change, queue, message, now))?;
            for seen in &intake.seen {
                let look = seen.look.map_or_else(Vec::new, |look| look.0.to_vec());
                let resources = serde_json::to_string(&seen.resources).expect("texts and numbers become JSON");
                let Seen { dataset, stamp, is_gone, .. } = seen;
                let values = params![own, dataset, stamp, look, is_gone, resources, now];
                change.prepare_cached(statements::SEE)?.execute(values)?;
            }
            for dataset in &intake.gone {
                change.prepare_cached(statements::SEE_GONE)?.execute(params![own, dataset, now])?;
            }
            if let Some(age) = intake.forget_gone {
                change.prepare_cached(statements::FORGET_GONE)?.execute(params![own, now - millis(age)])?;
            }
            for (name, text) in &intake.progress {
                change.prepare_cached(statements::PROGRESS)?.execute(params![own, name, text])?;
            }
            for Pulled { id, message_id } in &intake.pulled {
                change.prepare_cached(statements::PULL)?.execute(params![own, id, message_id])?;
            }
            for Pulled { id, message_id } in &intake.acknowledged {
                change.prepare_cached(statements::ACKNOWLEDGE)?.execute(params![own, id, message_id])?;
            }
            Ok(())
        })
    }

    fn seen(&self, dataset: &str) -> Result<Option<Seen>, SourceError> {
        self.store.read(|file| {
            file.prepare_cached(statements::SEEN)?.query_row(params![self.queue, dataset], seen).optional()
        })
    }

    fn seen_between(&self, behind: &str, up_to: Option<&str>, max: usize) -> Result<Vec<Seen>, SourceError> {
        self.store.read(|file| {
            let mut between = file.prepare_cached(statements::SEEN_BETWEEN)?;
            between.query_map(params![self.queue, behind, up_to, count(max)], seen)?.collect()
        })
    }

    fn progress(&self) -> Result<BTreeMap<String, String>, SourceError> {
        self.store.read(|file| {
            let mut progress = file.prepare_cached(statements::PROGRESS_SO_FAR)?;
            progress.query_map([&self.queue], |row| Ok((row.get(0)?, row.get(1)?)))?.collect()
        })
    }

    fn pulled(&self) -> Result<Vec<Pulled>, SourceError> {
        self.store.read(|file| {
            let mut pulled = file.prepare_cached(statements::PULLED)?;
            let pulled =
                pulled.query_map([&self.queue], |row| Ok(Pulled { id: row.get(0)?, message_id: row.get(1)? }))?;
            pulled.collect()
        })
    }

    fn ready(&self, queue: &str) -> Result<u64, SourceError> {
        self.store.read(|file| {
            let ready = file.prepare_cached(statements::READY)?.query_row([queue], |row| row.get::<_, i64>(0))?;
            Ok(ready.unsigned_abs())
        })
    }
}

fn seen(row: &Row<'_>) -> rusqlite::Result<Seen> {
    let (look, resources): (Vec<u8>, String) = (row.get(2)?, row.get(4)?);
    Ok(Seen {
        dataset: row.get(0)?,
        stamp: row.get(1)?,
        look: look.try_into().ok().map(Fingerprint),
        is_gone: row.get(3)?,
        // What cannot be read is not known: then all resources are new.
        resources: serde_json::from_str(&resources).unwrap_or_default(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Config;

    fn known(dataset: &str, number: u8) -> Seen {
        let resources = BTreeMap::from([("r\"1".to_owned(), u64::MAX), ("r2".to_owned(), 0)]);
        let look = Some(Fingerprint([number; 16]));
        Seen { dataset: dataset.to_owned(), stamp: format!("stamp {number}"), look, is_gone: false, resources }
    }

    fn pulled(id: i64) -> Pulled {
        Pulled { id, message_id: format!("m-{id}") }
    }

    fn message(body: &'static str) -> Message {
        Message { routing_key: "Package".to_owned(), body: body.into(), id: None, only: None }
    }

    fn file(dir: &std::path::Path) -> QueueFile {
        let path = dir.join("queue.db");
        let url = format!("sqlite:{}", path.display());
        QueueFile::open(&path, &Config::from_map([("ckan.site_id", "portal"), ("amqp.url", &url)]).unwrap().queue)
            .unwrap()
    }

    #[test]
    fn what_is_taken_in_is_known_and_waits_in_its_queue() {
        let dir = tempfile::tempdir().unwrap();
        let mut file = file(dir.path());
        let (live, other) = (file.queue.clone(), "other".to_owned());
        file.take_in(&Intake {
            messages: vec![(live.clone(), message("1")), (other.clone(), message("2")), (other.clone(), message("3"))],
            seen: vec![known("b", 1), known("a", 2), known("C", 3)],
            progress: vec![("cursor", "7".to_owned())],
            pulled: vec![pulled(9), pulled(3)],
            ..Intake::default()
        })
        .unwrap();
        assert_eq!((file.ready(&live).unwrap(), file.ready(&other).unwrap()), (1, 2));
        assert_eq!(file.seen("b").unwrap(), Some(known("b", 1)));
        assert_eq!(file.seen("c").unwrap(), None);
        // By bytes, as the search orders them.
        assert_eq!(file.seen_between("", None, 9).unwrap(), [known("C", 3), known("a", 2), known("b", 1)]);
        assert_eq!(file.seen_between("C", Some("a"), 9).unwrap(), [known("a", 2)]);
        assert_eq!(file.seen_between("", None, 1).unwrap().len(), 1);
        assert_eq!(file.progress().unwrap(), BTreeMap::from([("cursor".to_owned(), "7".to_owned())]));
        assert_eq!(file.pulled().unwrap(), [pulled(3), pulled(9)]);
        file.take_in(&Intake {
            seen: vec![known("b", 4)],
            gone: vec!["a".to_owned()],
            progress: vec![("cursor", "8".to_owned())],
            acknowledged: vec![pulled(3), Pulled { message_id: "another".to_owned(), ..pulled(9) }],
            ..Intake::default()
        })
        .unwrap();
        assert_eq!(file.seen("a").unwrap(), Some(Seen { look: None, is_gone: true, ..known("a", 2) }));
        assert_eq!(file.seen_between("", None, 9).unwrap(), [known("C", 3), known("b", 4)]);
        assert_eq!((file.progress().unwrap()["cursor"].as_str(), file.pulled().unwrap()), ("8", vec![pulled(9)]));
    }

    #[test]
    fn what_has_been_gone_for_long_is_forgotten() {
        let dir = tempfile::tempdir().unwrap();
        let mut file = file(dir.path());
        let seen = ["a", "b", "c"].map(|dataset| known(dataset, 1)).to_vec();
        file.take_in(&Intake { seen, gone: vec!["a".to_owned(), "b".to_owned()], ..Intake::default() }).unwrap();
        let long_ago = "UPDATE seen SET gone_ms = gone_ms - 3600000 WHERE dataset = 'a'";
        file.store.write(|change| change.execute_batch(long_ago)).unwrap();
        let half = Duration::from_secs(1800);
        file.take_in(&Intake { forget_gone: Some(half), ..Intake::default() }).unwrap();
        let is_known = ["a", "b", "c"].map(|dataset| file.seen(dataset).unwrap().is_some());
        assert_eq!(is_known, [false, true, true]);
    }

    #[test]
    fn all_of_an_intake_is_written_or_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let mut file = file(dir.path());
        let broken = "CREATE TRIGGER broken BEFORE INSERT ON progress BEGIN SELECT RAISE(ABORT, 'broken'); END;";
        file.store.write(|change| change.execute_batch(broken)).unwrap();
        let live = file.queue.clone();
        let intake = Intake {
            messages: vec![(live.clone(), message("1"))],
            seen: vec![known("a", 1)],
            progress: vec![("cursor", "7".to_owned())],
            ..Intake::default()
        };
        file.take_in(&intake).unwrap_err();
        assert_eq!((file.ready(&live).unwrap(), file.seen("a").unwrap()), (0, None));
        file.store.write(|change| change.execute_batch("DROP TRIGGER broken")).unwrap();
        file.take_in(&intake).unwrap();
        assert_eq!((file.ready(&live).unwrap(), file.seen("a").unwrap()), (1, Some(known("a", 1))));
    }
}
