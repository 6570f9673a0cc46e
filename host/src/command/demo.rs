//! `worker demo`: the whole worker on a sample portal, nothing to set up, nothing left behind.

mod settings;
mod trouble;

use std::io::{self, Write as _, stdout};
use std::path::Path;
use std::time::Duration;

use tempfile::TempDir;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::{oneshot, watch};

use settings::{config, plugin};
use trouble::{Trouble, system};

use super::{say, stop};
use crate::app::{App, AppError};
use crate::catalog::Entry;
use crate::cli::Cli;
use crate::config::Config;
use crate::demo::{Sample, Show, ShowError, data};
use crate::dispatch::Summary;
use crate::exit::Exit;
use crate::source;

/// How long the demo may take when it is to end by itself; it needs a few seconds.
const ONCE_MAX: Duration = Duration::from_secs(60);

/// The worker that is shown.
const WORKER: &str = "archive";

/// Shows the worker at work; `once` ends when all is done and tells by the exit status whether it came out right.
pub fn demo(cli: &Cli, once: bool) -> Exit {
    match Stage::set(cli).and_then(|stage| stage.perform(once)) {
        Ok(exit) => exit,
        Err(trouble) => trouble.explain(),
    }
}

/// Everything that the demo needs.
struct Stage {
    sample: Sample,
    config: Config,
    plugin: Entry,
    runtime: Runtime,
    /// The queue and the archive; deleted at the end.
    _dir: TempDir,
}

/// How the show came to an end.
enum Ending {
    /// All is done.
    Over,
    /// Somebody wants it to stop.
    Stopped,
    /// It takes too long.
    Late,
}

impl Stage {
    fn set(cli: &Cli) -> Result<Self, Trouble> {
        let runtime = Builder::new_multi_thread().worker_threads(1).thread_name("demo-portal").enable_all().build();
        let runtime = runtime.map_err(system("no threads for the sample portal"))?;
        let dir = tempfile::Builder::new().prefix("ckan-worker-demo-").tempdir();
        let dir = dir.map_err(system("no temporary directory for the queue and the archive"))?;
        let sample = runtime.block_on(Sample::start()).map_err(system("no port for the sample portal"))?;
        let config = config(cli, &sample, dir.path())?;
        let plugin = plugin(&config)?;
        Ok(Self { sample, config, plugin, runtime, _dir: dir })
    }

    fn perform(self, once: bool) -> Result<Exit, Trouble> {
        // So that what is wrong with the plugin comes before the table.
        let refused = App::new(self.config.clone()).worker(WORKER).check()?;
        if !refused.is_empty() {
            return Err(AppError::Refused(refused).into());
        }
        let stopping = stop::on_signals().stopping;
        self.introduce(once).map_err(ShowError::Print)?;
        let publisher = source::open_publisher(&self.config.queue).map_err(ShowError::Queue)?;
        let (mut show, observer) = Show::new(&self.sample.portal, publisher);
        let mut host = Host::start(App::new(self.config.clone()).worker(WORKER).observer(observer))?;
        let ended = self.runtime.block_on(self.watch(&mut show, &mut host, stopping, once));
        let summary = self.runtime.block_on(host.stop());
        let (ended, summary) = (ended?, summary?);
        let differences = if once { self.differences(&show, summary)? } else { Vec::new() };
        self.runtime.block_on(show.close());
        self.runtime.block_on(self.sample.stop());
        Ok(verdict(&ended, once, &differences))
    }

    /// Says what there is to see.
    fn introduce(&self, once: bool) -> io::Result<()> {
        let mut out = stdout().lock();
        let version = self.plugin.manifest().map_or("", |manifest| manifest.version.as_str());
        let loaded = format!("{WORKER} {version}");
        writeln!(out, "{}", self.sample.headline())?;
        writeln!(out, "Sample files    {}/", self.sample.web.url())?;
        writeln!(out, "{loaded:<14}  loaded from {}", shown(self.plugin.path()))?;
        if !once {
            writeln!(out, "Ctrl-C ends the demo")?;
        }
        writeln!(out)
    }

    async fn watch(
        &self,
        show: &mut Show<'_>,
        host: &mut Host,
        mut stopping: watch::Receiver<bool>,
        once: bool,
    ) -> Result<Ending, Trouble> {
        let watched = async {
            show.all(&mut stdout()).await?;
            self.suggest(once).map_err(ShowError::Print)?;
            if !once {
                show.changes(&mut stdout()).await?;
            }
            Ok::<_, ShowError>(())
        };
        let late = async {
            if !once {
                std::future::pending::<()>().await;
            }
            tokio::time::sleep(ONCE_MAX).await;
        };
        tokio::select! {
            biased;
            true = async { stopping.wait_for(|stopping| *stopping).await.is_ok() } => Ok(Ending::Stopped),
            watched = watched => Ok(watched.map(|()| Ending::Over)?),
            trouble = host.trouble() => Err(trouble),
            () = late => Ok(Ending::Late),
        }
    }

    /// Says what to do next, in commands that can be typed as they stand.
    fn suggest(&self, once: bool) -> io::Result<()> {
        let mut out = stdout().lock();
        let worker = std::env::args().next().unwrap_or_else(|| "worker".to_owned());
        writeln!(out, "Next: {worker} plugins list · {worker} check --help · {worker} --help")?;
        let old = self.sample.portal.resource("old-budget.csv");
        if let Some(id) = old.as_ref().and_then(|resource| resource["id"].as_str()).filter(|_| !once) {
            writeln!(
                out,
                "\nStill running. To see a broken link being repaired, type elsewhere:\n  curl -s -H 'Authorization: {}' \
                 {}/api/3/action/resource_patch \\\n    -d '{{\"id\": \"{id}\", \"url\": \"{}/planets.csv\"}}'\n",
                data::TOKEN,
                self.sample.portal.url(),
                self.sample.web.url()
            )?;
        }
        out.flush()
    }

    /// All that is not as it must be, one sentence each.
    fn differences(&self, show: &Show<'_>, summary: Summary) -> Result<Vec<String>, Trouble> {
        let mut differences = show.differences();
        let waiting = self.runtime.block_on(source::look(&self.config.queue)).map_err(ShowError::Queue)?;
        match waiting.unwrap_or_default() {
            0 => {}
            waiting => differences.push(format!("expected an empty queue, but {waiting} messages are in it")),
        }
        if summary.dead > 0 {
            differences.push(format!("expected no dead letters, got {}", summary.dead));
        }
        Ok(differences)
    }
}

/// The worker, on a thread of its own, for it makes its own runtime.
struct Host {
    stop: watch::Sender<bool>,
    ended: oneshot::Receiver<Result<Summary, AppError>>,
}

impl Host {
    fn start(app: App) -> Result<Self, Trouble> {
        let (stop, stopping) = watch::channel(false);
        let (over, ended) = oneshot::channel();
        let run = move || {
            // Nobody listens any more when the demo has failed.
            let _ = over.send(app.run(stopping));
        };
        let thread = std::thread::Builder::new().name("demo-host".to_owned()).spawn(run);
        thread.map_err(system("no thread for the worker"))?;
        Ok(Self { stop, ended })
    }

    /// Waits until it ends, which it should not do by itself.
    async fn trouble(&mut self) -> Trouble {
        match (&mut self.ended).await {
            Ok(Err(error)) => error.into(),
            Ok(Ok(_)) | Err(_) => Trouble::HostGone,
        }
    }

    /// Stops it and waits until it has ended; the end of one that has ended by itself has been told already.
    async fn stop(self) -> Result<Summary, Trouble> {
        self.stop.send_replace(true);
        if self.ended.is_terminated() {
            return Ok(Summary::default());
        }
        Ok(self.ended.await.map_err(|_| Trouble::HostGone)??)
    }
}

fn verdict(ended: &Ending, once: bool, differences: &[String]) -> Exit {
    match ended {
        Ending::Stopped if once => {
            say("stopped before all was done");
            return Exit::Interrupted;
        }
        Ending::Stopped => return Exit::Done,
        Ending::Late => say(&format!("error: the demo was not done after {} s", ONCE_MAX.as_secs())),
        Ending::Over if differences.is_empty() => return Exit::Done,
        Ending::Over => say("error: not everything came out as expected"),
    }
    for difference in differences {
        say(&format!("  {difference}"));
    }
    Exit::Failed
}

/// A path as short as it can be said here.
fn shown(path: &Path) -> String {
    let here = std::env::current_dir().ok();
    here.and_then(|here| path.strip_prefix(here).ok()).unwrap_or(path).display().to_string()
}
