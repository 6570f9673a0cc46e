//! `worker check`: finds mistakes before they cost a night.

use std::io::{IsTerminal as _, Write as _, stdout};

use serde_json::json;

use super::say;
use crate::app::{App, AppError};
use crate::catalog::Refusal;
use crate::cli::{Cli, Format};
use crate::config::{Config, Request};
use crate::diagnostic::{Finding, Findings};
use crate::exit::Exit;
use crate::services::ckan::Identity;
use crate::source::SourceError;

/// Checks the configuration and the workers, and unless `offline` the queue and CKAN.
pub fn check(cli: &Cli, offline: bool, workers: &[String]) -> Exit {
    let request = cli.request(Request::from_environment());
    let (findings, facts, service) = match Config::load(&request) {
        Ok((config, findings)) => {
            let mut checked = Checked { findings, facts: Vec::new(), service: None };
            checked.look_at(&config, offline, workers);
            (checked.findings, checked.facts, checked.service)
        }
        Err(findings) => (findings, Vec::new(), None),
    };
    if print(cli, &findings, &facts).is_err() {
        return Exit::Failed;
    }
    match (findings.has_errors(), service) {
        (false, _) => Exit::Done,
        (true, Some(exit)) => exit,
        (true, None) => Exit::Config,
    }
}

struct Checked {
    findings: Findings,
    /// What is well, a line each.
    facts: Vec<String>,
    /// The exit status, if services are the only trouble.
    service: Option<Exit>,
}

impl Checked {
    fn look_at(&mut self, config: &Config, offline: bool, workers: &[String]) {
        // Without names, whatever has a section of its own is meant.
        let named: Vec<String> =
            if workers.is_empty() { config.workers.keys().cloned().collect() } else { workers.to_vec() };
        let workers = &named[..];
        let app = workers.iter().fold(App::new(config.clone()), App::worker);
        for warning in app.warnings() {
            self.findings.push(Finding::warning("plugin::passed-over", warning));
        }
        if !workers.is_empty() {
            self.workers(&app, config, workers);
        }
        let is_clean = !self.findings.has_errors();
        if !offline {
            self.queue(&app, config);
            if config.ckan.site_url.is_some() {
                self.ckan(&app);
            }
        }
        if !is_clean {
            self.service = None;
        }
    }

    fn workers(&mut self, app: &App, config: &Config, workers: &[String]) {
        let refused = match app.check() {
            Ok(refused) => refused,
            Err(error) => return self.findings.push(Finding::error("worker::setup", error.to_string())),
        };
        for name in workers {
            match refused.iter().find(|refused| refused.worker == *name) {
                None => self.facts.push(format!("worker {name} can be made")),
                Some(refused) => self.refusal(name, config, &refused.refusal),
            }
        }
    }

    fn refusal(&mut self, worker: &str, config: &Config, refusal: &Refusal) {
        // Wrong settings are shown where they stand.
        if let (Refusal::Settings { problems: Some(problems), .. }, Some(section)) =
            (refusal, config.workers.get(worker))
        {
            return self.findings.extend(section.explain(worker, problems));
        }
        self.findings.push(Finding::error(refusal.code(), refusal.to_string()));
    }

    fn queue(&mut self, app: &App, config: &Config) {
        let (name, address) = (&config.queue.name, &config.queue.address);
        match app.check_queue() {
            Ok(Some(waiting)) => self.facts.push(format!("queue {name} at {address}: waiting messages: {waiting}")),
            Ok(None) if config.queue.create => {
                self.facts.push(format!("queue {name} at {address}: not there yet, will be made"));
            }
            Ok(None) => self.findings.push(
                Finding::error("queue::missing", format!("queue {name} does not exist at {address}"))
                    .about("queue.create")
                    .help("create it, or switch queue.create on"),
            ),
            Err(AppError::Source(error @ SourceError::Refused { .. })) => {
                self.service_trouble(Finding::error("queue::refused", error.to_string()), Exit::Refused);
            }
            Err(AppError::Source(error @ SourceError::Unusable(_))) => {
                self.findings.push(Finding::error("queue::unusable", error.to_string()));
            }
            Err(error) => {
                self.service_trouble(Finding::error("queue::unreachable", error.to_string()), Exit::Unavailable);
            }
        }
    }

    fn ckan(&mut self, app: &App) {
        let report = match app.check_ckan() {
            Ok(report) => report,
            Err(error) => return self.findings.push(Finding::error("ckan::setup", error.to_string())),
        };
        if let Some(failure) = report.failure() {
            let (code, exit) = match failure.code {
                "ckan.not-authorized" => ("ckan::refused", Exit::Refused),
                _ => ("ckan::unreachable", Exit::Unavailable),
            };
            return self.service_trouble(Finding::error(code, failure.message.clone()), exit);
        }
        let version = report.portal.ok().and_then(|portal| portal.version);
        let version = version.map_or_else(|| "of a hidden version".to_owned(), |version| version.clone());
        let identity = match report.identity {
            Ok(Identity::User { name, sysadmin: true }) => format!("as {name}, a sysadmin"),
            Ok(Identity::User { name, sysadmin: false }) => format!("as {name}"),
            Ok(Identity::Anonymous) | Err(_) => "without a token: nothing can be written".to_owned(),
        };
        self.facts.push(format!("CKAN {version} answers, {identity}"));
        self.feed(app);
    }

    /// Whether the portal can be asked for notifications at all.
    fn feed(&mut self, app: &App) {
        match app.check_feed() {
            Ok(None) => {}
            Ok(Some(Ok(fact))) => self.facts.push(fact),
            Ok(Some(Err(failure))) => {
                let (code, exit) = match failure.code {
                    "ckan.incompatible" | "ckan.bad-request" | "ckan.validation" => {
                        ("feed::unusable", Exit::Unavailable)
                    }
                    "ckan.not-authorized" => ("ckan::refused", Exit::Refused),
                    _ => ("ckan::unreachable", Exit::Unavailable),
                };
                self.service_trouble(Finding::error(code, failure.message), exit);
            }
            Err(error) => self.findings.push(Finding::error("ckan::setup", error.to_string())),
        }
    }

    fn service_trouble(&mut self, finding: Finding, exit: Exit) {
        self.findings.push(finding);
        self.service = Some(exit);
    }
}

fn print(cli: &Cli, findings: &Findings, facts: &[String]) -> std::io::Result<()> {
    let mut out = stdout().lock();
    if cli.output.format == Format::Json {
        let result = json!({ "schema": "ckan-worker/1", "findings": findings, "facts": facts });
        return writeln!(out, "{result:#}");
    }
    for fact in facts {
        writeln!(out, "ok: {fact}")?;
    }
    if !findings.is_empty() {
        writeln!(out, "{}", findings.render(cli.output.color.wanted(stdout().is_terminal())))?;
    }
    out.flush()?;
    say(&findings.summary("worker check"));
    Ok(())
}
