//! What a queue consists of where it lies, and how that stands: for `worker topology`.

use serde::Serialize;

/// One thing that a queue needs where it lies.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Part {
    /// What it is.
    pub kind: Kind,
    /// Its name.
    pub name: String,
    /// What it is made with.
    pub arguments: Vec<(String, String)>,
    /// What it is for.
    pub why: String,
    /// When it is made.
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
#[derive(Debug, Clone, PartialEq, Eq)]
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
