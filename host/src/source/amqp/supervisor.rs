//! Keeps a session with the broker: one after the other, for as long as the source is there.

use std::time::{Duration, Instant};

use tokio::sync::mpsc::UnboundedReceiver;

use super::Command;
use super::back_off::BackOff;
use super::connection::SharedConnection;
use super::gauge::Gauge;
use super::hatch::HandingOver;
use super::session::{Ended, Session};
use super::topology::Queue;
use super::watchdog::Watchdog;
use crate::source::{AmqpAddress, Settings, SourceError};

/// What is to be consumed, and how.
pub struct Order {
    pub addresses: Vec<AmqpAddress>,
    pub settings: Settings,
    pub prefetch: u16,
    pub shared: SharedConnection,
}

/// What outlives a session.
pub struct Course {
    /// Nothing is to be consumed for a while.
    pub is_paused: bool,
    pub gauge: Gauge,
    pub watchdog: Watchdog,
}

/// Keeps a session until the source is closed.
pub async fn supervise(mut order: Order, there: HandingOver, mut commands: UnboundedReceiver<Command>) {
    let hatch = &*there.0;
    let gauge = Gauge::new(order.prefetch, order.settings.prefetch_bytes);
    let mut course = Course { is_paused: false, gauge, watchdog: Watchdog::new(Instant::now()) };
    let (mut back_off, mut had_session) = (BackOff::default(), false);
    // Deliveries without a name of their own are named by this number, also in what outlives the process: so no two
    // sessions may have the same, and a process does not know of the others.
    let first = fastrand::u64(1 << 40..1 << 41);
    for number in first.. {
        if hatch.is_closed() {
            return wait_for_close(&mut commands).await;
        }
        let opened = tokio::select! {
            opened = Session::open(&order, &course, number) => opened,
            // A broker that does not answer is not waited for any more.
            () = hatch.closed() => return wait_for_close(&mut commands).await,
        };
        let wait = match opened {
            Ok((session, queue)) => {
                let begun = Instant::now();
                order.tell_of(queue, had_session);
                had_session = true;
                let ended = session.run(hatch, &mut commands, &mut course).await;
                // Others get it, and one session after the other would add to it while nobody takes anything.
                hatch.forget();
                match ended {
                    Ended::Closed => return,
                    Ended::Lost(reason) => tracing::warn!("the session with the broker is lost: {reason}"),
                    Ended::Stuck(reason) => tracing::error!("nothing received: {reason}; the session is built anew"),
                }
                back_off.session_lasted(begun.elapsed());
                back_off.wait(Instant::now(), fastrand::f64())
            }
            // Somebody is there at the first try, and can mend it; later nobody may be.
            Err(error @ (SourceError::Refused { .. } | SourceError::Unusable(_))) if number == first => {
                return hatch.fail(error);
            }
            Err(error @ SourceError::Unusable(_)) if had_session => {
                tracing::error!("{error}; it was there before: what waited in it is lost, and the worker waits for it");
                BackOff::wait_for_people(fastrand::f64())
            }
            Err(error @ SourceError::Refused { .. }) => {
                tracing::error!("no session with the broker: {error}");
                BackOff::wait_for_people(fastrand::f64())
            }
            Err(error) => {
                tracing::warn!("no session with the broker: {error}");
                back_off.wait(Instant::now(), fastrand::f64())
            }
        };
        // The next try begins with another host.
        order.addresses.rotate_left(1);
        if wait_or_close(wait, &mut commands, &mut course).await {
            return;
        }
    }
}

impl Order {
    fn tell_of(&self, queue: Queue, had_session: bool) {
        let (name, address) = (&self.settings.name, &self.settings.address);
        if queue == Queue::Made && had_session {
            tracing::error!(
                "queue {name} was deleted at the broker: what waited in it is lost; it has been made again"
            );
        }
        tracing::info!("consuming queue {name} at {address}");
    }
}

/// Waits until the source is closed: it was stopped, and what was delivered came back when the session was lost.
async fn wait_for_close(commands: &mut UnboundedReceiver<Command>) {
    while let Some(command) = commands.recv().await {
        if let Command::Close(_) = command {
            return;
        }
    }
}

/// Waits between two sessions; answers whether the source was closed meanwhile.
async fn wait_or_close(wait: Duration, commands: &mut UnboundedReceiver<Command>, course: &mut Course) -> bool {
    let waited = tokio::time::sleep(wait);
    tokio::pin!(waited);
    loop {
        tokio::select! {
            () = &mut waited => return false,
            command = commands.recv() => match command {
                // What an earlier session delivered comes back by itself.
                Some(Command::Settle(_) | Command::Release(_) | Command::Stop | Command::Depth(_)) => {}
                Some(Command::Pause) => course.is_paused = true,
                Some(Command::Resume) => course.is_paused = false,
                Some(Command::Close(_)) | None => return true,
            }
        }
    }
}
