//! Reads what workers may download, and how.

use std::time::Duration;

use url::Url;

use super::keys::fetch::USER_AGENT;
use super::read::Reader;
use super::value;
use crate::services::fetch::{Deadlines, PaceSettings, Proxy, Settings};

/// From when on a download must come at `fetch.rate_min`.
const RATE_GRACE: Duration = Duration::from_secs(30);
/// How long a download waits for its turn with a server; it holds a thread meanwhile.
const PATIENCE: Duration = Duration::from_secs(5);
/// How many requests one server gets at once, if there are threads enough.
const HOST_CONCURRENCY: usize = 4;

/// The settings of downloads, where so many notifications are worked on at once for the portal at `site_url`.
pub(super) fn settings(reader: &mut Reader<'_>, site_url: Option<&Url>, concurrency: usize) -> Settings {
    Settings {
        allow: reader.parsed("fetch.allow", value::networks).unwrap_or_default(),
        ports: reader.parsed("fetch.ports", value::ports).unwrap_or_default(),
        proxy: reader.url("fetch.proxy").map(Proxy),
        deadlines: Deadlines {
            connect: reader.duration("fetch.connect_timeout").unwrap_or_default(),
            first_byte: reader.duration("fetch.first_byte_timeout").unwrap_or_default(),
            idle: reader.duration("fetch.idle_timeout").unwrap_or_default(),
            total: reader.duration("fetch.timeout").unwrap_or_default(),
            rate_min: reader.size("fetch.rate_min").unwrap_or_default() as u64,
            rate_grace: RATE_GRACE,
        },
        redirects_max: reader.count("fetch.redirects_max").unwrap_or_default(),
        pace: PaceSettings {
            // With those that wait for a turn it must not come to all threads: others' servers have their turn, too.
            concurrency: reader
                .count("fetch.host_concurrency")
                .unwrap_or_else(|| (concurrency / 2).clamp(1, HOST_CONCURRENCY)),
            rate: reader.count("fetch.host_rate").unwrap_or_default(),
            patience: PATIENCE,
        },
        user_agent: reader.text("fetch.user_agent").unwrap_or_else(|| user_agent(site_url)),
    }
}

/// Tells servers where to complain: at the portal whose links these are.
fn user_agent(site_url: Option<&Url>) -> String {
    let Some(site_url) = site_url else { return USER_AGENT.to_owned() };
    let mut contact = site_url.clone();
    // An address has no other form in which these could stand in its way.
    let _ = contact.set_username("").and_then(|()| contact.set_password(None));
    contact.set_query(None);
    contact.set_fragment(None);
    format!("{USER_AGENT} (+{contact})")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_are_told_whom_to_write_to_and_no_secret() {
        let told = |url: &str| user_agent(Some(&Url::parse(url).unwrap()));
        assert_eq!(told("https://data.example"), format!("{USER_AGENT} (+https://data.example/)"));
        assert_eq!(told("https://me:pw@data.example/ckan?x=1#y"), format!("{USER_AGENT} (+https://data.example/ckan)"));
        assert_eq!(user_agent(None), USER_AGENT);
    }
}
