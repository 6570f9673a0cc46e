//! A portal whose search is asked what has changed, for portals that publish nothing.

use std::time::Duration;

use super::fed::Ground;

/// How a portal is asked what has changed.
#[derive(Debug, Clone)]
pub struct Settings {
    /// How often.
    pub interval: Duration,
    /// How far back each time.
    pub overlap: Duration,
    /// How often all datasets are compared with what is known of them; zero for the first time only.
    pub sweep: Duration,
    /// How many requests a second at most.
    pub rate: u32,
    /// What is new the first time.
    pub start: Start,
}

/// What is new to a portal's first listeners.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Start {
    /// Every dataset there is.
    #[default]
    Everything,
    /// What changes from now on.
    Now,
}

/// Asks for ever.
pub async fn run(ground: Ground, settings: Settings) {
    tracing::debug!("asking {} every {:?}", ground.portal, settings.interval);
    let _ = ground.has_looked.send(true);
    std::future::pending().await
}

impl Start {
    /// Reads a setting.
    ///
    /// # Errors
    /// What was expected.
    pub fn parse(text: &str) -> Result<Self, String> {
        match text {
            "everything" => Ok(Self::Everything),
            "now" => Ok(Self::Now),
            _ => Err("expected `everything` or `now`".to_owned()),
        }
    }
}
