//! What was asked for: settings from flags, environment and files, in one typed value.
//!
//! Flags win over the environment, that over the file of `-c`, that over `~/.ckanworker.cfg`, that over the defaults.
//! Paths in a file are relative to the working directory, as CKAN reads them; `%(here)s` is the file's directory.

pub mod address;
mod credentials;
mod environment;
mod fetch;
mod file;
pub mod ini;
mod interpolate;
pub mod keys;
mod layer;
mod mask;
mod origin;
mod queue;
mod read;
mod request;
mod scope;
pub mod value;
mod worker;

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

pub use origin::Origin;
pub use request::{Flag, Request};
pub use worker::WorkerSection;

use crate::diagnostic::{Finding, Findings};
use crate::guard::Budget;
use crate::{journal, services, source, store};
use layer::{Layer, Merged, Setting, Unknown};
use origin::Target;
use read::Reader;

/// All settings of the host, read and checked.
#[derive(Debug, Clone)]
pub struct Config {
    /// The portal's site id.
    pub site_id: String,
    /// Which queue is consumed.
    pub queue: source::Settings,
    /// How to reach CKAN.
    pub ckan: services::ckan::Settings,
    /// What workers may download.
    pub fetch: services::fetch::Settings,
    /// How work is done.
    pub run: RunSettings,
    /// What is remembered of it.
    pub journal: journal::Settings,
    /// What workers remember.
    pub store: store::Settings,
    /// How often a worker may be called for one dataset.
    pub budget: Budget,
    /// Directories with plugins, searched before the usual ones.
    pub plugin_dirs: Vec<PathBuf>,
    /// Whether plugins are loaded although others may write to their directory.
    pub allow_insecure_plugin_dir: bool,
    /// What is set for each worker that has a section; others have the defaults.
    pub workers: BTreeMap<String, WorkerSection>,
    /// The files that were read, the weakest first.
    pub files: Vec<PathBuf>,
    queue_is_default: bool,
    origins: Origins,
}

/// Where each setting of the host came from, by its name.
#[derive(Clone, Default)]
struct Origins(BTreeMap<String, Origin>);

/// Shows nothing: the settings stand beside it.
impl fmt::Debug for Origins {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("…")
    }
}

/// How work is done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunSettings {
    /// How many notifications are worked on at once.
    pub concurrency: usize,
    /// How often a worker tries a notification.
    pub attempts: u32,
    /// How long a worker may take for one notification.
    pub deadline: Duration,
    /// How long a worker that was told to give up may still take.
    pub grace: Duration,
    /// How long the work in hand may take when the host is stopped.
    pub drain: Duration,
    /// The longest notification that is taken.
    pub body_bytes_max: usize,
}

impl Config {
    /// Reads what `request` asks for. Beside the settings come the findings that do not stand in the way.
    ///
    /// # Errors
    /// All that is wrong, if anything is.
    pub fn load(request: &Request) -> Result<(Self, Findings), Findings> {
        let mut findings = Findings::default();
        let gathered = request.gather(&mut findings);
        let merged = merge(&gathered.layers, &mut findings);
        let mut config = typed(&merged, &request.environment, &mut findings);
        config.files = gathered.files;
        for (name, header) in gathered.headers {
            config.workers.entry(name).or_default().header = Some(header);
        }
        findings.sort();
        if findings.has_errors() { Err(findings) } else { Ok((config, findings)) }
    }

    /// Reads settings from a map, as a program does that embeds the host. Settings for a worker are named
    /// `worker:NAME.KEY`. Neither files nor flags are looked at, nor the environment but to find a place for the queue.
    ///
    /// # Errors
    /// All that is wrong, if anything is.
    pub fn from_map<K, V>(settings: impl IntoIterator<Item = (K, V)>) -> Result<Self, Findings>
    where
        K: AsRef<str>,
        V: Into<String>,
    {
        let mut findings = Findings::default();
        let mut layer = Layer::default();
        for (name, text) in settings {
            let (target, key) = Target::split(name.as_ref());
            let key = key.to_lowercase();
            let text = text.into();
            let origin = Origin::new(1, "the settings given by the program", &key, &text);
            layer.add(Setting { target, key, text, origin }, Unknown::Error, &mut findings);
        }
        let merged = merge(&[layer], &mut findings);
        let config = typed(&merged, &Request::from_environment().environment, &mut findings);
        if findings.has_errors() { Err(findings) } else { Ok(config) }
    }

    /// Where the value of the host's setting `key` came from; `None` if it was computed.
    pub fn origin(&self, key: &str) -> Option<&Origin> {
        self.origins.0.get(key)
    }

    /// Whether the queue is the default one, because no other was named.
    pub fn queue_is_default(&self) -> bool {
        self.queue_is_default
    }
}

fn merge(layers: &[Layer], findings: &mut Findings) -> Merged {
    layer::merge(layers).unwrap_or_else(|error| {
        findings.push(Finding::error("config::unreadable", format!("the settings cannot be put together: {error}")));
        Merged::default()
    })
}

/// Reads every setting, also after an error: what is wrong with the later ones is to be found, too.
fn typed(merged: &Merged, environment: &BTreeMap<String, String>, findings: &mut Findings) -> Config {
    let mut reader = Reader { merged, findings };
    let site_id = reader.text("ckan.site_id").unwrap_or_default();
    let origin = queue::origin(&mut reader, environment);
    let site_url = origin.portal(&mut reader);
    let ckan = ckan_settings(&mut reader, site_url.clone());
    let queue_is_default = origin.is_default;
    let queue = queue::settings(&mut reader, origin, &site_id, &ckan);
    let delays = u32::try_from(queue.ladder.rungs().len()).unwrap_or(u32::MAX);
    let journal = queue::journal(&mut reader, &queue, environment);
    let concurrency = reader.count("concurrency").unwrap_or_else(default_concurrency);
    let fetch = fetch::settings(&mut reader, site_url.as_ref(), concurrency);
    Config {
        queue,
        queue_is_default,
        store: store::Settings {
            path: reader.text_of_path("store.path").unwrap_or_else(|| queue::beside(&journal.path, "store")),
        },
        journal,
        budget: Budget {
            runs_max: reader.count("guard.runs_max").unwrap_or_default(),
            window: reader.duration("guard.window").unwrap_or_default(),
            runs_a_day_max: reader.count("guard.runs_a_day_max").unwrap_or_default(),
        },
        ckan,
        fetch,
        run: RunSettings {
            concurrency,
            attempts: reader.count("attempts").unwrap_or(delays.saturating_add(1)),
            deadline: reader.duration("deadline").unwrap_or_default(),
            grace: reader.duration("grace").unwrap_or_default(),
            drain: reader.duration("drain").unwrap_or_default(),
            body_bytes_max: reader.size("body_bytes_max").unwrap_or_default(),
        },
        plugin_dirs: reader.paths("plugin_dir"),
        allow_insecure_plugin_dir: reader.flag("plugins.allow_insecure_dir").unwrap_or_default(),
        workers: merged
            .workers
            .iter()
            .map(|(name, won)| (name.clone(), worker::section(name, won, reader.findings)))
            .collect(),
        files: Vec::new(),
        origins: Origins(merged.host.iter().map(|(key, won)| (key.clone(), won.origin.clone())).collect()),
        site_id,
    }
}

fn ckan_settings(reader: &mut Reader<'_>, site_url: Option<url::Url>) -> services::ckan::Settings {
    services::ckan::Settings {
        site_url,
        api_key: credentials::api_key(reader),
        token_header: reader.header_name("ckan.apitoken_header_name").unwrap_or_default(),
        timeout: reader.duration("ckan.timeout").unwrap_or_default(),
        root_path: reader.text("ckan.root_path"),
        url_rewrite: reader.parsed("ckan.url_rewrite", value::rewrites).unwrap_or_default(),
        concurrency: reader.count("ckan.concurrency").unwrap_or_default(),
        // Only a flag switches it on: nobody wants to find it in a file.
        dry_run: false,
    }
}

// Workers mostly wait for CKAN and for other servers, so there may be more of them than cores.
fn default_concurrency() -> usize {
    std::thread::available_parallelism().map_or(4, |cores| cores.get() * 4).max(4)
}
