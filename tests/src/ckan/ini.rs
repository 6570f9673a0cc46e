//! CKAN's settings file: the one that CKAN makes, with some values of ours.

use std::fs;
use std::path::{Path, PathBuf};

use super::bed::Bed;
use super::environment::Environment;

/// Where a CKAN lives: its number in the run, and the directory of that number.
pub struct Place {
    number: u32,
    pub dir: PathBuf,
}

impl Place {
    /// One that nobody else has.
    ///
    /// # Errors
    /// The directory cannot be made.
    pub fn claim(bed: &Bed) -> Result<Self, String> {
        let number = bed.claim_number().map_err(|error| format!("{}: {error}", bed.dir.display()))?;
        Ok(Self { number, dir: bed.dir.join(format!("sites/{number}")) })
    }

    /// The name of its database and of its core.
    pub fn name(&self) -> String {
        format!("site_{}", self.number)
    }

    pub fn ini(&self) -> PathBuf {
        self.dir.join("ckan.ini")
    }

    /// Deletes all files; the number stays taken.
    ///
    /// # Errors
    /// Something cannot be deleted.
    pub fn clear(&self) -> std::io::Result<()> {
        fs::remove_dir_all(&self.dir)?;
        fs::create_dir(&self.dir)
    }

    /// Writes the settings of a CKAN here: `settings`, and those that bring it to its bed.
    ///
    /// # Errors
    /// A file cannot be read or written.
    pub fn write_ini(
        &self,
        bed: &Bed,
        environment: &Environment,
        database: &str,
        settings: &[(String, String)],
    ) -> Result<(), String> {
        let at = |path: &Path| path.display().to_string();
        let own = [
            ("sqlalchemy.url", bed.database_url(database)),
            ("solr_url", bed.solr_url(&self.name())),
            ("ckan.redis.url", bed.redis_url(self.number)),
            ("ckan.storage_path", at(&self.dir.join("storage"))),
            ("ckan.webassets.path", at(&self.dir.join("webassets"))),
        ];
        let mut all: Vec<_> = own.map(|(key, value)| (key.to_owned(), value)).into();
        all.retain(|(key, _)| !settings.iter().any(|(name, _)| name == key));
        all.extend_from_slice(settings);
        for part in ["storage", "webassets"] {
            let dir = self.dir.join(part);
            fs::create_dir_all(&dir).map_err(|error| format!("{}: {error}", dir.display()))?;
        }
        let plain = environment.plain_ini();
        let text = fs::read_to_string(&plain).map_err(|error| format!("{}: {error}", plain.display()))?;
        fs::write(self.ini(), with(&text, &all)).map_err(|error| format!("{}: {error}", self.ini().display()))
    }
}

/// Sets values in the section `[app:main]`; what stood there of the same name is gone.
fn with(text: &str, settings: &[(String, String)]) -> String {
    let mut written: Vec<String> = Vec::new();
    let (mut ours, mut dropping) = (false, false);
    for line in text.lines() {
        let opens = line.starts_with('[');
        if opens {
            ours = line.trim() == "[app:main]";
        }
        // An indented line goes on with the value above it.
        if !(dropping && line.starts_with([' ', '\t'])) {
            dropping = ours && settings.iter().any(|(key, _)| is_of(line, key));
        }
        if !dropping {
            written.push(line.to_owned());
        }
        if ours && opens {
            written.extend(settings.iter().map(|(key, value)| format!("{key} = {value}")));
        }
    }
    written.join("\n") + "\n"
}

fn is_of(line: &str, key: &str) -> bool {
    line.strip_prefix(key).is_some_and(|rest| rest.trim_start().starts_with('='))
}

#[cfg(test)]
mod tests {
    use super::with;

    #[test]
    fn values_are_replaced_in_the_applications_section_only() {
        let text = "[DEFAULT]\nplugins = a\n[app:main]\nuse = egg:ckan\nplugins = a\n  b\nplugins_too = c\n[loggers]\n\
                    plugins = d\n";
        let set = [("plugins".to_owned(), "x".to_owned()), ("new".to_owned(), "1".to_owned())];
        let expected = "[DEFAULT]\nplugins = a\n[app:main]\nplugins = x\nnew = 1\nuse = egg:ckan\nplugins_too = c\n\
                        [loggers]\nplugins = d\n";
        assert_eq!(with(text, &set), expected);
    }
}
