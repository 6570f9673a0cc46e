//! The show: sends what is to be worked on, passes on what the portal announces, and prints what comes of it.

use std::io::{self, Write};
use std::sync::Arc;
use std::time::Instant;

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::portal::Portal;
use super::progress::{Progress, RunEnd};
use super::table::ResourceLine;
use super::{Notice, data};
use crate::observe::{LogLine, Observer, RunEnded};
use crate::source::{Message, Publisher, SourceError};

/// One show: a portal, the way into the queue, and what is seen of the worker.
pub struct Show<'a> {
    portal: &'a Portal,
    publisher: Box<dyn Publisher>,
    notices: UnboundedReceiver<Notice>,
    seen: UnboundedReceiver<Seen>,
    progress: Progress,
}

/// Why a show broke off.
#[derive(Debug, thiserror::Error)]
pub enum ShowError {
    /// The queue took no notification.
    #[error(transparent)]
    Queue(#[from] SourceError),
    /// Nobody reads what is printed.
    #[error("nothing more can be printed: {0}")]
    Print(#[from] io::Error),
}

/// Something that the worker did.
enum Seen {
    Resource(Box<ResourceLine>),
    End(RunEnd),
}

/// Tells the show what the worker does.
struct Watch(UnboundedSender<Seen>);

impl Observer for Watch {
    fn run_ended(&self, run: &RunEnded<'_>) {
        let RunEnded { routing_key, operation, message, .. } = *run;
        let end = match run.outcome {
            "done" => RunEnd::Done,
            "skipped" | "superseded" => RunEnd::Skipped,
            // It comes back, but only to the next worker on this queue; this one is going.
            "interrupted" => return,
            _ => {
                RunEnd::Dead(format!("{routing_key} {operation} {}: {message}", run.entity_id.unwrap_or("without id")))
            }
        };
        // The show may be over.
        let _ = self.0.send(Seen::End(end));
    }

    fn logged(&self, line: &LogLine<'_>) {
        if let Some(line) = ResourceLine::from_fields(line.fields) {
            let _ = self.0.send(Seen::Resource(Box::new(line)));
        }
    }
}

impl<'a> Show<'a> {
    /// Begins a show of this portal; the observer is for the worker's host.
    pub fn new(portal: &'a Portal, publisher: Box<dyn Publisher>) -> (Self, Arc<dyn Observer>) {
        let (sender, seen) = unbounded_channel();
        let show = Self { portal, publisher, notices: portal.notices(), seen, progress: Progress::default() };
        (show, Arc::new(Watch(sender)))
    }

    /// Has every dataset worked on, and prints the table and what is below it.
    ///
    /// # Errors
    /// The show broke off.
    pub async fn all(&mut self, out: &mut dyn Write) -> Result<(), ShowError> {
        let started = Instant::now();
        for notice in self.portal.backfill() {
            self.publish(notice).await?;
            self.progress.sent += 1;
        }
        self.until_quiet(out).await?;
        let calls = self.portal.calls_of("package_revise");
        writeln!(out, "\n{}", self.progress.summary(started.elapsed(), &calls))?;
        Ok(())
    }

    /// Waits for changes on the portal, and prints what comes of them, for as long as it is polled.
    ///
    /// # Errors
    /// The show broke off.
    pub async fn changes(&mut self, out: &mut dyn Write) -> Result<(), ShowError> {
        loop {
            let before = self.progress.count();
            let Some(notice) = self.notices.recv().await else { return Ok(()) };
            self.pass_on(notice).await?;
            self.until_quiet(out).await?;
            writeln!(out, "{}", self.progress.news(before))?;
            out.flush()?;
        }
    }

    /// All that is not as the sample portal wants it, one sentence each.
    pub fn differences(&self) -> Vec<String> {
        self.progress.differences(&data::expected(), &self.portal.calls_of("package_revise"))
    }

    /// Closes the way into the queue.
    pub async fn close(self) {
        self.publisher.close().await;
    }

    /// Goes on until every notification has ended, those too that the portal announces meanwhile.
    async fn until_quiet(&mut self, out: &mut dyn Write) -> Result<(), ShowError> {
        while !self.is_quiet() {
            tokio::select! {
                Some(notice) = self.notices.recv() => self.pass_on(notice).await?,
                Some(seen) = self.seen.recv() => match seen {
                    Seen::End(end) => self.progress.run(end),
                    Seen::Resource(line) => {
                        if let Some(text) = self.progress.resource(*line) {
                            writeln!(out, "{text}")?;
                            out.flush()?;
                        }
                    }
                },
            }
        }
        Ok(())
    }

    // The portal announces a write before it answers it, so when a run has ended, what it led to is here.
    fn is_quiet(&self) -> bool {
        self.progress.unended() == 0 && self.notices.is_empty() && self.seen.is_empty()
    }

    async fn pass_on(&mut self, notice: Notice) -> Result<(), SourceError> {
        self.publish(notice).await?;
        self.progress.announced += 1;
        Ok(())
    }

    async fn publish(&self, notice: Notice) -> Result<(), SourceError> {
        let routing_key = notice.routing_key.to_owned();
        self.publisher.publish(Message { routing_key, body: notice.body.into(), id: None, only: None }).await
    }
}
