//! The demo's table: one line for each resource, and a summary.

use std::time::Duration;

/// What became of one resource.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ResourceLine {
    /// The resource's id.
    pub resource: String,
    /// The archive's number for what happened; `0` and `1` are good, below 20 is broken, the rest is unsure. `None` if
    /// nothing is decided, because a server asked to come back later.
    pub status_id: Option<u16>,
    /// The same in words.
    pub status: String,
    /// The resource's name.
    pub name: String,
    /// The format that the dataset's author declared.
    pub declared: String,
    /// How large the file is.
    pub bytes: Option<u64>,
    /// What it was found to be.
    pub mimetype: Option<String>,
    /// Its hash, in hex.
    pub sha256: Option<String>,
    /// Why it is not good; empty if it is.
    pub reason: String,
    /// Where redirects led.
    pub redirected_to: Option<String>,
    /// How long it took, if that is known.
    pub duration: Option<Duration>,
}

impl ResourceLine {
    /// Reads the fields of a line that the archive logged; `None` if it is not about a resource.
    ///
    /// Fields that are missing or empty count as unknown; `duration_ms` is taken if it is there.
    pub fn from_fields(fields: &[(&str, &str)]) -> Option<Self> {
        let field = |name: &str| fields.iter().find(|(field, _)| *field == name).map(|(_, value)| *value);
        let known = |name: &str| field(name).filter(|value| !value.is_empty());
        let text = |name: &str| field(name).unwrap_or_default().to_owned();
        Some(Self {
            resource: known("resource")?.to_owned(),
            status_id: known("status_id").map(str::parse).transpose().ok()?,
            status: text("status"),
            name: text("name"),
            declared: text("declared"),
            bytes: known("bytes").and_then(|bytes| bytes.parse().ok()),
            mimetype: known("mimetype").map(str::to_owned),
            sha256: known("sha256").map(str::to_owned),
            reason: text("reason"),
            redirected_to: known("redirected_to").map(str::to_owned),
            duration: known("duration_ms").and_then(|ms| ms.parse().ok()).map(Duration::from_millis),
        })
    }

    /// What kind of line it is.
    pub fn verdict(&self) -> Verdict {
        match self.status_id {
            Some(0) if self.is_page_instead() || !self.reason.is_empty() => Verdict::Wrong,
            Some(0) if self.redirected_to.is_some() => Verdict::Moved,
            Some(0) => Verdict::Ok,
            Some(1) => Verdict::Same,
            Some(21) => Verdict::TooBig,
            Some(10..=19) => Verdict::Broken,
            Some(_) => Verdict::Error,
            None => Verdict::Waiting,
        }
    }

    /// Whether a web page came where something else was declared.
    fn is_page_instead(&self) -> bool {
        let declared = self.declared.to_lowercase();
        let is_page = self.mimetype.as_deref().is_some_and(|kind| kind.starts_with("text/html"));
        is_page && !declared.is_empty() && !declared.contains("htm")
    }

    fn details(&self) -> String {
        let mut parts = Vec::new();
        match self.verdict() {
            Verdict::Ok | Verdict::Moved | Verdict::Same => {
                let kind = self.mimetype.as_deref().map(short_kind).unwrap_or_default();
                parts.push(format!("{:>8}  {kind:<16}", self.bytes.map(size).unwrap_or_default()));
                parts.extend(self.sha256.as_ref().map(|hash| format!("sha256 {hash:.4}…")));
                parts.extend(self.redirected_to.as_ref().map(|to| format!("moved to {to}")));
            }
            Verdict::Wrong if self.is_page_instead() => {
                parts.push(format!("declared {}, is an HTML page", self.declared));
            }
            Verdict::Wrong | Verdict::Broken | Verdict::TooBig | Verdict::Error | Verdict::Waiting => parts.push(
                [&self.reason, &self.status].into_iter().find(|text| !text.is_empty()).cloned().unwrap_or_default(),
            ),
        }
        parts.extend(self.duration.map(|duration| format!("{} ms", duration.as_millis())));
        parts.join("  ")
    }
}

/// The first word of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Kept as it is.
    Ok,
    /// Kept, from where redirects led.
    Moved,
    /// Kept before, and not changed since.
    Same,
    /// Kept, but it is not what was declared.
    Wrong,
    /// Not to be had.
    Broken,
    /// Left alone, for its size.
    TooBig,
    /// The archive itself failed.
    Error,
    /// Not decided: its server asked to come back later.
    Waiting,
}

impl Verdict {
    /// The word for it in the table.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Moved => "moved",
            Self::Same => "same",
            Self::Wrong => "wrong",
            Self::Broken => "broken",
            Self::TooBig => "too big",
            Self::Error => "error",
            Self::Waiting => "retry",
        }
    }

    /// Whether it is counted among the problems.
    pub fn is_problem(self) -> bool {
        matches!(self, Self::Wrong | Self::Broken | Self::TooBig | Self::Error)
    }
}

/// Collects what became of the resources, and says it line by line.
#[derive(Debug, Default)]
pub struct Table {
    lines: Vec<ResourceLine>,
}

impl Table {
    /// An empty table.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes a result and returns the line to print, without its line break.
    ///
    /// A resource that was worked on again is printed again only if something else came of it; "not changed" never
    /// replaces what came first.
    pub fn add(&mut self, line: ResourceLine) -> Option<String> {
        let text = render(&line);
        match self.lines.iter_mut().find(|earlier| earlier.resource == line.resource) {
            None => self.lines.push(line),
            Some(_) if line.verdict() == Verdict::Same => return None,
            Some(earlier) => {
                let is_news = (earlier.status_id, &earlier.sha256) != (line.status_id, &line.sha256);
                *earlier = line;
                if !is_news {
                    return None;
                }
            }
        }
        Some(text)
    }

    /// The last result for each resource, in the order in which they first came.
    pub fn lines(&self) -> &[ResourceLine] {
        &self.lines
    }

    /// The line below the table.
    pub fn summary(&self, elapsed: Duration) -> String {
        let count = |is: fn(Verdict) -> bool| self.lines.iter().filter(|line| is(line.verdict())).count();
        let (problems, waiting) = (count(Verdict::is_problem), count(|verdict| verdict == Verdict::Waiting));
        let (all, kept) = (self.lines.len(), self.lines.len() - problems - waiting);
        let word = if problems == 1 { "problem" } else { "problems" };
        let waiting = if waiting == 0 { String::new() } else { format!(", {waiting} waiting") };
        format!("{all} resources: {kept} kept, {problems} {word} found{waiting}     {:.1} s", elapsed.as_secs_f64())
    }
}

fn render(line: &ResourceLine) -> String {
    let name = if line.name.is_empty() { &line.resource } else { &line.name };
    format!("  {:<7}  {name:<20}  {}", line.verdict().as_str(), line.details()).trim_end().to_owned()
}

/// A size for people: `6.1 kB`.
pub fn size(bytes: u64) -> String {
    if bytes < 1000 {
        return format!("{bytes} B");
    }
    let units = ["kB", "MB", "GB", "TB", "PB", "EB"];
    let (mut tenths, mut unit) = (bytes / 100, 0);
    while tenths >= 10_000 {
        tenths /= 1000;
        unit += 1;
    }
    format!("{}.{} {}", tenths / 10, tenths % 10, units[unit])
}

/// A type in a word or two: office formats have names that fill a line.
fn short_kind(mimetype: &str) -> &str {
    let kind = mimetype.split(';').next().unwrap_or_default().trim();
    match kind {
        "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet" => "spreadsheet",
        "application/vnd.google-earth.kml+xml" => "kml",
        "application/geo+json" => "geojson",
        "text/tab-separated-values" => "text/tsv",
        other => other,
    }
}
