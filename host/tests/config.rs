//! Where settings come from, and which of them wins.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::path::Path;
use std::time::Duration;

use ckan_worker::Config;
use ckan_worker::config::{Flag, Request};
use ckan_worker::diagnostic::Findings;
use ckan_worker::source::settings::Address;
use ckan_worker_plugin::{SettingProblem, SettingProblems};
use secrecy::ExposeSecret;

/// A directory with files, in which settings are read.
struct Rig {
    directory: tempfile::TempDir,
    request: Request,
}

impl Rig {
    fn new(worker_cfg: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let mut request = Request { directory: directory.path().to_owned(), ..Request::default() };
        request.environment.insert("STATE_DIRECTORY".to_owned(), "/var/lib/ckan-worker".to_owned());
        Self { directory, request }.file("worker.cfg", worker_cfg)
    }

    fn path(&self) -> &Path {
        self.directory.path()
    }

    fn file(self, name: &str, text: &str) -> Self {
        std::fs::write(self.path().join(name), text).unwrap();
        self
    }

    fn env(mut self, name: &str, value: &str) -> Self {
        self.request.environment.insert(name.to_owned(), value.to_owned());
        self
    }

    fn flag(mut self, flag: &str, key: &str, value: &str) -> Self {
        self.request.flags.push(Flag { flag: flag.to_owned(), key: key.to_owned(), value: value.to_owned() });
        self
    }

    fn section(mut self, section: &str) -> Self {
        self.request.section = Some(section.to_owned());
        self
    }

    fn with_home(self, text: &str) -> Self {
        let home = self.path().display().to_string();
        self.file(".ckanworker.cfg", text).env("HOME", &home)
    }

    #[track_caller]
    fn load(&self) -> (Config, Findings) {
        Config::load(&self.request).unwrap_or_else(|findings| panic!("{findings}"))
    }

    #[track_caller]
    fn config(&self) -> Config {
        self.load().0
    }
}

fn codes(findings: &Findings) -> Vec<&str> {
    findings.iter().map(|finding| finding.code).collect()
}

#[test]
fn nothing_set_means_the_defaults_and_a_queue_of_ones_own() {
    let (config, findings) = Rig::new("[worker]\n").load();
    assert!(findings.is_empty(), "{findings}");
    assert_eq!(config.queue.address.to_string(), "sqlite:/var/lib/ckan-worker/queue.db");
    assert!(config.queue_is_default());
    assert_eq!((config.queue.name.as_str(), config.queue.exchange.as_str()), ("default.workerchain", "default"));
    assert_eq!((config.queue.routing_key.as_str(), config.queue.prefetch, config.queue.create), ("*", None, true));
    assert!(config.run.concurrency >= 4);
    assert_eq!((config.run.attempts, config.run.body_bytes_max), (9, 16 * 1024 * 1024));
    assert_eq!((config.run.deadline, config.run.grace), (Duration::from_secs(900), Duration::from_secs(5)));
    assert_eq!(config.run.drain, Duration::from_secs(25));
    assert_eq!((config.ckan.token_header.as_str(), config.ckan.timeout), ("Authorization", Duration::from_secs(30)));
    assert!(config.ckan.site_url.is_none() && config.ckan.api_key.is_none());
    assert_eq!((config.fetch.redirects_max, config.fetch.deadlines.total), (10, Duration::from_secs(300)));
    assert_eq!(config.fetch.ports, [80, 443, 8080, 8443]);
    assert!(config.workers.is_empty() && config.plugin_dirs.is_empty() && !config.allow_insecure_plugin_dir);
}

#[test]
fn flags_win_over_the_environment_that_over_the_file_and_that_over_the_home_file() {
    let file = "[worker]\nqueue.name = file\nattempts = 2\ndrain = 2\n";
    let home = "[worker]\nqueue.name = home\nattempts = 1\ndrain = 1\ngrace = 1\n";
    let rig = Rig::new(file).with_home(home).env("CKAN___QUEUE__NAME", "env").env("CKAN___ATTEMPTS", "3");
    let config = rig.flag("--queue", "queue.name", "flag").config();
    let run = &config.run;
    assert_eq!((config.queue.name.as_str(), run.attempts), ("flag", 3));
    assert_eq!((run.drain.as_secs(), run.grace.as_secs()), (2, 1));
    assert_eq!(config.files.len(), 2);
    let words = |key| config.origin(key).map(|origin| origin.words.rsplit('/').next().unwrap_or_default());
    assert_eq!(words("queue.name"), Some("the flag --queue"));
    assert_eq!(words("attempts"), Some("the environment variable CKAN___ATTEMPTS"));
    assert_eq!((words("drain"), words("grace")), (Some("worker.cfg:4"), Some(".ckanworker.cfg:5")));
    assert_eq!((words("deadline"), words("queue.prefetch")), (Some("the default"), None));
}

#[test]
fn the_home_file_gives_way_and_a_missing_file_is_no_mistake() {
    let mut rig = Rig::new("");
    std::fs::remove_file(rig.path().join("worker.cfg")).unwrap();
    rig = rig.with_home("[worker]\nckan.site_id = home\n");
    assert_eq!(rig.config().site_id, "home");
    rig.request.file = Some(rig.path().join("nowhere.cfg"));
    let findings = Config::load(&rig.request).unwrap_err();
    assert_eq!(codes(&findings), ["config::unreadable"]);
}

#[test]
fn the_environment_reaches_ckan_and_worker_settings_and_leaves_foreign_ones_alone() {
    let rig = Rig::new("[worker:archive]\ndir = /srv\n[worker]\n");
    let rig = rig.env("CKAN__SITE_ID", "portal").env("CKAN__SITE_URL", "https://data.example");
    let rig = rig.env("CKAN___WORKER__ARCHIVE__DIR", "/mnt").env("CKAN__PLUGINS", "stats").env("CKAN_INI", "/x");
    let (config, findings) = rig.load();
    assert!(findings.is_empty(), "{findings}");
    assert_eq!(config.site_id, "portal");
    assert_eq!(config.ckan.site_url.unwrap().as_str(), "https://data.example/");
    assert_eq!(config.workers["archive"].settings["dir"], "/mnt");
}

#[test]
fn the_separate_keys_of_old_files_name_a_broker_and_are_noted() {
    let file = "[worker]\nckan.site_id = p\nqueue.library = pyamqplib\nqueue.hostname = rabbit\nqueue.port = 5673\n\
                queue.user_id = me\namqp_password = s@cret\nqueue.virtual_host = /ckan\n";
    let (config, findings) = Rig::new(file).load();
    let Address::Amqp(hosts) = &config.queue.address else { panic!("{config:?}") };
    let host = &hosts[0];
    assert_eq!((host.host.as_str(), host.port, host.user.as_str()), ("rabbit", 5673, "me"));
    assert_eq!((host.password.expose_secret(), host.virtual_host.as_str()), ("s@cret", "/ckan"));
    assert!(!config.queue_is_default());
    assert_eq!(findings.count(ckan_worker::diagnostic::Severity::Note), 6, "{findings}");
    assert!(codes(&findings).contains(&"config::ignored-key"), "{findings}");
}

#[test]
fn the_stronger_way_to_name_a_broker_wins() {
    let parts = "[worker]\nckan.site_id = p\nqueue.host = a\n";
    let rig = Rig::new(parts).flag("--amqp-url", "amqp.url", "amqp://b");
    assert_eq!(rig.config().queue.address.to_string(), "amqp://guest@b:5672/");
    let rig = Rig::new(parts).with_home("[worker]\namqp.url = amqp://home\n");
    assert_eq!(rig.config().queue.address.to_string(), "amqp://guest@a:5672/");
}

#[test]
fn a_section_of_a_ckan_ini_may_hold_foreign_settings() {
    let ini = "[DEFAULT]\ndebug = false\nname = portal\n[server:main]\nport = 5000\n[app:main]\nuse = egg:ckan\n\
               ckan.site_id = %(name)s\nsqlalchemy.url = postgresql://u:50%@db\nckan.plugins = stats\n\
               [worker:archive]\ndir = %(here)s/archive\n";
    let rig = Rig::new(ini).section("app:main");
    let (config, findings) = rig.load();
    assert!(findings.is_empty(), "{findings}");
    assert_eq!(config.site_id, "portal");
    let dir = rig.path().join("archive").display().to_string();
    assert_eq!(config.workers["archive"].settings, *serde_json::json!({"dir": dir}).as_object().unwrap());
}

#[test]
fn a_file_may_use_another_and_is_stronger_than_it() {
    let rig = Rig::new("[worker]\nuse = config:base.ini\nattempts = 5\n");
    let rig =
        rig.file("base.ini", "[worker]\nattempts = 4\ngrace = 4\nplugin_dir = %(here)s/p, /q\n[worker:a]\nk = v\n");
    let config = rig.config();
    assert_eq!((config.run.attempts, config.run.grace.as_secs()), (5, 4));
    assert_eq!(config.plugin_dirs, [rig.path().join("p"), "/q".into()]);
    assert_eq!(config.workers["a"].settings["k"], "v");
}

#[test]
fn files_may_refer_to_environment_variables_of_ckan_but_to_no_others() {
    let rig = Rig::new("[worker]\nckan.site_id = %(CKAN_ID)s\n").env("CKAN_ID", "portal");
    assert_eq!(rig.config().site_id, "portal");
    let rig = Rig::new("[worker]\nckan.site_id = %(PATH)s\n").env("PATH", "/bin");
    assert_eq!(codes(&Config::load(&rig.request).unwrap_err()), ["config::interpolation"]);
}

#[test]
fn a_worker_has_the_hosts_settings_for_it_and_its_own() {
    let file = "[worker]\n[worker:archive]\npath = /opt/a.so\nrequired = yes\ndeadline = 2h\nattempts = 9\nDir = /srv\n\
                [worker:echo]\n";
    let config = Rig::new(file).flag("--set", "worker:archive.bytes_max", "5").config();
    let archive = &config.workers["archive"];
    assert_eq!((archive.path.as_deref(), archive.required), (Some(Path::new("/opt/a.so")), true));
    assert_eq!((archive.deadline, archive.attempts), (Some(Duration::from_secs(7200)), Some(9)));
    assert_eq!(archive.settings, *serde_json::json!({"dir": "/srv", "bytes_max": "5"}).as_object().unwrap());
    assert_eq!(archive.origins["dir"].words.rsplit('/').next(), Some("worker.cfg:7"));
    assert!(config.workers["echo"].settings.is_empty());
}

#[test]
fn what_a_plugin_says_of_its_settings_is_shown_in_the_file() {
    let rig = Rig::new("[worker]\n[worker:archive]\ndri = /srv\ntoken = hun\"ter2\n");
    let archive = &rig.config().workers["archive"];
    let problem = |key: &str, message: &str, help: Option<&str>| SettingProblem {
        key: key.to_owned(),
        message: message.to_owned(),
        help: help.map(str::to_owned),
    };
    let problems = SettingProblems {
        settings: vec![
            problem("dri", "unknown setting", Some("a similar setting exists: dir")),
            problem("token", "expected a number, got \"hun\\\"ter2\"", None),
            problem("dir", "this setting is missing", None),
        ],
    };
    let text = archive.explain("archive", &problems).to_string().replace(&rig.path().display().to_string(), "");
    let expected = "\
error[config::worker-setting]: worker archive: `dri`: unknown setting
 --> /worker.cfg:3:1
  |
3 | dri = /srv
  | ^^^ the worker does not accept this
  |
help: a similar setting exists: dir

error[config::worker-setting]: worker archive: `token`: expected a number, got \"***\"
 --> /worker.cfg:4:1
  |
4 | token = ***
  | ^^^^^ the worker does not accept this

error[config::worker-setting]: worker archive: `dir`: this setting is missing
 --> /worker.cfg:2:1
  |
2 | [worker:archive]
  | ^^^^^^^^^^^^^^^^ in this section
  |
help: add `dir = …` to section [worker:archive]";
    assert_eq!(text, expected);
}

#[test]
fn secrets_are_read_but_never_shown() {
    let file = "[worker]\nckan.site_id = p\nckan.api_key = hunter2\namqp.url = amqp://me:hunter2@h,amqp://me:hunter2@i\n\
                [worker:webhook]\nsecret = hunter2\nurl = https://me:hunter2@h/\n";
    let (config, findings) = Rig::new(file).flag("--api-key", "ckan.api_key", "hunter3").load();
    assert_eq!(config.ckan.api_key.as_ref().unwrap().expose_secret(), "hunter3");
    assert_eq!(codes(&findings), ["config::visible-secret"]);
    let shown = format!("{config:?} {} {findings}", config.queue.address);
    assert!(!shown.contains("hunter"), "{shown}");
    assert_eq!(config.queue.address.to_string(), "amqp://me@h:5672/,amqp://me@i:5672/");
}

#[cfg(unix)]
#[test]
fn the_token_may_stand_in_a_file_that_others_must_not_read() {
    use std::os::unix::fs::PermissionsExt;
    let rig = Rig::new("[worker]\nckan.api_key_file = %(here)s/key\n").file("key", "hunter2\n");
    let mode = |mode| std::fs::set_permissions(rig.path().join("key"), std::fs::Permissions::from_mode(mode)).unwrap();
    mode(0o644);
    let (config, findings) = rig.load();
    assert_eq!(config.ckan.api_key.unwrap().expose_secret(), "hunter2");
    assert_eq!(codes(&findings), ["config::secret-readable"]);
    mode(0o640);
    assert!(rig.load().1.is_empty());
}

#[test]
fn a_flag_that_had_no_effect_in_2011_is_noted_where_the_file_differs() {
    let rig = Rig::new("[worker]\nqueue.name = file\n").flag("--queue", "queue.name", "flag");
    let (config, findings) = rig.load();
    assert_eq!(config.queue.name, "flag");
    assert_eq!(codes(&findings), ["config::replaced"]);
}

#[test]
fn a_program_gives_its_settings_as_a_map() {
    let settings = [
        ("ckan.site_id", "p"),
        ("amqp.url", "sqlite:q.db"),
        ("worker:archive.dir", "/srv"),
        ("worker:archive.attempts", "2"),
    ];
    let config = Config::from_map(settings).unwrap();
    assert_eq!(
        (config.queue.name.as_str(), config.queue.address.to_string().as_str()),
        ("p.workerchain", "sqlite:q.db")
    );
    assert_eq!(
        (config.workers["archive"].attempts, &config.workers["archive"].settings["dir"]),
        (Some(2), &"/srv".into())
    );
    let findings = Config::from_map([("ckan.site_idd", "p"), ("attempts", "x")]).unwrap_err();
    assert_eq!(codes(&findings), ["config::unknown-key", "config::wrong-value"]);
}

#[test]
fn the_queue_is_kept_where_state_belongs() {
    for (variables, path) in [
        (&[("STATE_DIRECTORY", "/var/lib/a:/b")][..], "/var/lib/a/queue.db"),
        (&[("STATE_DIRECTORY", ""), ("XDG_STATE_HOME", "/x"), ("HOME", "/h")], "/x/ckan-worker/queue.db"),
        (&[("STATE_DIRECTORY", ""), ("HOME", "/h")], "/h/.local/state/ckan-worker/queue.db"),
    ] {
        let rig = variables.iter().fold(Rig::new("[worker]\n"), |rig, (name, value)| rig.env(name, value));
        assert_eq!(rig.config().queue.address.to_string(), format!("sqlite:{path}"));
    }
    let rig = Rig::new("[worker]\n").env("STATE_DIRECTORY", "");
    assert_eq!(codes(&Config::load(&rig.request).unwrap_err()), ["config::missing"]);
}
