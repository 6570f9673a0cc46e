//! The demo's portal and its web server, started together.

use std::io;

use super::{Portal, Web, data};

/// The sample portal and the web server its resources are on.
#[derive(Debug)]
pub struct Sample {
    /// Where the files are.
    pub web: Web,
    /// Where the datasets are.
    pub portal: Portal,
}

impl Sample {
    /// Starts both, each on a free loopback port.
    ///
    /// # Errors
    /// There is no free port, or the system does not let us listen.
    pub async fn start() -> io::Result<Self> {
        let web = Web::start(data::files()).await?;
        let portal = Portal::start(data::sample(&web.url())).await?;
        Ok(Self { web, portal })
    }

    /// The first line of what the demo prints, without its line break.
    pub fn headline(&self) -> String {
        let (datasets, resources) = data::count();
        format!("Sample portal   {}/   {datasets} datasets, {resources} resources", self.portal.url())
    }

    /// Stops both and waits until every answer under way has ended.
    pub async fn stop(self) {
        self.portal.stop().await;
        self.web.stop().await;
    }
}
