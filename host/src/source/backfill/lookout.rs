//! Looks now and then whether there is a lane.

use std::time::Duration;

use futures_util::future::BoxFuture;

use crate::source::{Source, SourceError};

/// How long to rest after the first look. Whoever has just begun to backfill does not wait for long.
const REST_FIRST: Duration = Duration::from_secs(2);

/// What a look has found.
pub type Found = Result<Option<Box<dyn Source>>, SourceError>;

/// Looks whether there is something in the lane, and opens it then.
pub type Find = Box<dyn Fn() -> BoxFuture<'static, Found> + Send>;

/// Looks now and then, less and less often.
pub struct Lookout {
    find: Find,
    /// How long it rests until the next look, and at most.
    rest: Duration,
    rest_max: Duration,
    /// The look that is on its way.
    looking: Option<BoxFuture<'static, Found>>,
}

impl Lookout {
    /// One that looks at once, and rests longer after each look, at most `rest_max`.
    pub fn new(find: Find, rest_max: Duration) -> Self {
        let looking = Some(find());
        Self { find, rest: REST_FIRST.min(rest_max), rest_max, looking }
    }

    /// Waits for the end of a look.
    ///
    /// # Errors
    /// It cannot be seen.
    ///
    /// # Cancel safety
    /// The look goes on with the next call.
    pub async fn found(&mut self) -> Found {
        let look = self.looking.get_or_insert_with(|| {
            let (rest, look) = (self.rest, (self.find)());
            self.rest = (self.rest * 2).min(self.rest_max);
            Box::pin(async move {
                tokio::time::sleep(rest).await;
                look.await
            })
        });
        let found = look.await;
        self.looking = None;
        found
    }

    /// Looks once, now.
    ///
    /// # Errors
    /// It cannot be seen.
    pub async fn look_now(&mut self) -> Found {
        // What was on its way would only find the same lane once more.
        self.looking = None;
        (self.find)().await
    }

    /// Rests before the next look.
    pub fn rest(&mut self) {
        self.looking = None;
    }
}
