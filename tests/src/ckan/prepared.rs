//! Databases that sites are copied from: tables, two users with their tokens, an organization and a group.

use std::fs;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::bed::Bed;
use super::environment::{Environment, script};
use super::ini::Place;
use crate::process::output_of;
use crate::sha256;
use crate::wait::FileLock;

/// The tokens of the users that every site has.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Tokens {
    /// Of the user `admin`, who is a sysadmin.
    pub admin: String,
    /// Of the user `editor`, who is nobody in particular.
    pub editor: String,
}

/// Makes sure that the bed has the database for this version; it is made once, and read from a file from then on.
///
/// # Errors
/// What PostgreSQL or CKAN complains of.
pub fn ensure(bed: &Bed, environment: &Environment) -> Result<Tokens, String> {
    let _lock = environment.lock();
    let recipe = fs::read(script("prepare.py")).map_err(|error| format!("prepare.py: {error}"))?;
    let kept = Kept::of(environment, &sha256(&recipe)[..8]);
    once(bed, &base(environment), None, |database| {
        if kept.tokens.exists() {
            let mut psql = bed.postgres("psql", database);
            psql.args(["-qX", "-v", "ON_ERROR_STOP=1", "-f"]).arg(&kept.dump);
            return output_of(&mut psql).map(drop);
        }
        crate::say(&format!("making the database of CKAN {}, once", environment.version));
        let place = Place::claim(bed)?;
        // Some versions' plain settings name plugins, and their tables are not there.
        place.write_ini(bed, environment, database, &[("ckan.plugins".to_owned(), String::new())])?;
        let mut python = environment.command("python");
        let answer = output_of(python.arg(script("prepare.py")).arg(place.ini()))?;
        output_of(bed.postgres("pg_dump", database).args(["--no-owner", "-f"]).arg(&kept.dump))?;
        // Last, for it says that the rest is complete. CKAN may have printed something before.
        let tokens = answer.lines().last().unwrap_or_default();
        fs::write(&kept.tokens, tokens).map_err(|error| format!("{}: {error}", kept.tokens.display()))
    })?;
    let tokens = fs::read(&kept.tokens).map_err(|error| format!("{}: {error}", kept.tokens.display()))?;
    serde_json::from_slice(&tokens).map_err(|error| format!("{}: {error}", kept.tokens.display()))
}

/// The database to copy for a site with these plugins, with their tables; `mark` changes when their code does.
///
/// # Errors
/// What PostgreSQL or CKAN complains of.
pub fn with_plugins(bed: &Bed, environment: &Environment, plugins: &[String], mark: &str) -> Result<String, String> {
    let base = base(environment);
    if plugins.is_empty() {
        return Ok(base);
    }
    let plugins = plugins.join(" ");
    let name = format!("{base}_{}", &sha256(format!("{plugins} {mark}").as_bytes())[..8]);
    let _lock = FileLock::acquire(&bed.dir.join(format!("sites/{name}.lock")));
    once(bed, &name, Some(&base), |database| {
        let place = Place::claim(bed)?;
        place.write_ini(bed, environment, database, &[("ckan.plugins".to_owned(), plugins.clone())])?;
        let mut ckan = environment.command("ckan");
        ckan.arg("-c").arg(place.ini()).args(["db", "pending-migrations", "--apply"]);
        output_of(&mut ckan).map(drop)
    })?;
    Ok(name)
}

/// Makes a database unless it is there; it has its name only when `fill` is done. The caller holds a lock.
fn once(
    bed: &Bed,
    name: &str,
    template: Option<&str>,
    fill: impl FnOnce(&str) -> Result<(), String>,
) -> Result<(), String> {
    if bed.sql("postgres", &format!("SELECT 1 FROM pg_database WHERE datname = '{name}'"))?.trim() == "1" {
        return Ok(());
    }
    let making = format!("making_{name}");
    bed.sql("postgres", &format!("DROP DATABASE IF EXISTS {making} WITH (FORCE)"))?;
    bed.sql("postgres", &format!("CREATE DATABASE {making} TEMPLATE {}", template.unwrap_or("template0")))?;
    fill(&making)?;
    bed.sql("postgres", &format!("ALTER DATABASE {making} RENAME TO {name}")).map(drop)
}

fn base(environment: &Environment) -> String {
    format!("prepared_{}", environment.version.tag())
}

/// What is kept from run to run.
struct Kept {
    dump: PathBuf,
    tokens: PathBuf,
}

impl Kept {
    fn of(environment: &Environment, recipe: &str) -> Self {
        let file = |name: &str| environment.dir.join(format!("prepared-{recipe}.{name}"));
        Self { dump: file("sql"), tokens: file("json") }
    }
}
