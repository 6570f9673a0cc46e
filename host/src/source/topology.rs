//! What a queue consists of where it lies, and how that stands: for `worker topology`.

use std::fs::File;
use std::io::{ErrorKind, Read as _};
use std::path::Path;

use serde::Serialize;

use super::{Settings, SourceError};

/// What every SQLite file begins with.
const MAGIC: &[u8] = b"SQLite format 3\0";

/// What the lane beside a queue is for.
pub(super) const LANE: &str =
    "optional: what `worker backfill` puts into it is worked on when nothing waits in the queue itself";

/// One thing that a queue needs where it lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// What it is.
    pub kind: Kind,
    /// Its name.
    pub name: String,
    /// What it is made with.
    pub arguments: Vec<(String, String)>,
    /// What it is for.
    pub why: String,
    /// When the worker makes it.
    pub made: String,
}

/// What a part is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Takes what is published.
    Exchange,
    /// Keeps messages.
    Queue,
    /// Leads from an exchange into a queue.
    Binding,
    /// A file of an embedded queue.
    File,
    /// Rows in that file.
    Rows,
}

/// How a part stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "standing", content = "detail")]
pub enum Standing {
    /// It is there, as we would make it.
    There,
    /// It is not there, and will be made.
    ToBeMade,
    /// It is not there, and will not be made.
    Missing(String),
    /// It is there, and not as we would make it: so says the broker.
    Differs(String),
    /// It cannot be seen, and why.
    Unseen(String),
}

impl Standing {
    /// Whether somebody should look at it.
    pub fn is_trouble(&self) -> bool {
        matches!(self, Self::Missing(_) | Self::Differs(_))
    }
}

/// What a queue in a file consists of.
pub fn of_file(path: &Path, settings: &Settings) -> Vec<Part> {
    let queue = &settings.name;
    let rows_of = |queue: &str, table: &str, why: String| Part {
        kind: Kind::Rows,
        name: table.to_owned(),
        arguments: vec![("queue".to_owned(), queue.to_owned())],
        why,
        made: "with the file".to_owned(),
    };
    let rows = |table: &str, why: String| rows_of(queue, table, why);
    let file = Part {
        kind: Kind::File,
        name: path.display().to_string(),
        arguments: Vec::new(),
        why: "holds queues and all that belongs to them; there is no exchange and no binding".to_owned(),
        made: "if it is missing".to_owned(),
    };
    vec![
        file,
        rows("message", "what waits to be worked on, and what is in hand".to_owned()),
        rows("waiting", "what failed and waits to be tried again, instead of a queue for each delay".to_owned()),
        rows("dead", "dead letters, until somebody looks at them".to_owned()),
        rows_of(&settings.lane().name, "message", LANE.to_owned()),
    ]
}

/// Looks how that stands.
///
/// # Errors
/// The file cannot be read.
pub fn survey_of_file(path: &Path, settings: &Settings) -> Result<Vec<(Part, Standing)>, SourceError> {
    let unusable = |error: std::io::Error| SourceError::Unusable(format!("{}: {error}", path.display()));
    let standing = match File::open(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Standing::ToBeMade,
        Err(error) => return Err(unusable(error)),
        Ok(file) => {
            let mut beginning = Vec::new();
            file.take(MAGIC.len() as u64).read_to_end(&mut beginning).map_err(unusable)?;
            // An empty file is one that SQLite has not written to yet.
            if beginning.is_empty() || beginning == MAGIC {
                Standing::There
            } else {
                Standing::Differs("it is no SQLite file".to_owned())
            }
        }
    };
    Ok(of_file(path, settings).into_iter().map(|part| (part, standing.clone())).collect())
}
