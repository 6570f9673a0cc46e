//! How far the demo has come, what that comes to, and whether it is what was expected.

use std::collections::BTreeMap;
use std::time::Duration;

use super::call::Call;
use super::expected::{Expected, mismatches};
use super::table::{ResourceLine, Table};

/// What happened to the notifications and the resources so far.
#[derive(Debug, Default)]
pub struct Progress {
    /// The notifications sent to have every dataset worked on.
    pub sent: usize,
    /// The portal's own announcements of what was changed on it.
    pub announced: usize,
    table: Table,
    done: usize,
    skipped: usize,
    /// Why runs failed for good.
    dead: Vec<String>,
}

/// How one run ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RunEnd {
    /// The worker did it.
    Done,
    /// There was nothing to do.
    Skipped,
    /// It failed for good: on what, and why.
    Dead(String),
}

impl Progress {
    /// Takes what became of a resource and returns the line to print, if it is news.
    pub fn resource(&mut self, line: ResourceLine) -> Option<String> {
        self.table.add(line)
    }

    /// Takes how a run ended.
    pub fn run(&mut self, end: RunEnd) {
        match end {
            RunEnd::Done => self.done += 1,
            RunEnd::Skipped => self.skipped += 1,
            RunEnd::Dead(why) => self.dead.push(why),
        }
    }

    /// How many notifications are on their way.
    pub fn unended(&self) -> usize {
        (self.sent + self.announced).saturating_sub(self.ended())
    }

    fn ended(&self) -> usize {
        self.done + self.skipped + self.dead.len()
    }

    /// The lines below the table; `calls` are those of `package_revise`.
    pub fn summary(&self, elapsed: Duration, calls: &[Call]) -> String {
        let Self { sent, announced, done, skipped, .. } = self;
        let (calls, datasets) = (calls.len(), revisions(calls).len());
        let mut lines = vec![
            self.table.summary(elapsed),
            format!("{} notifications: {sent} sent, {announced} announced by the portal in return", sent + announced),
            format!(
                "{} runs: {done} done, {skipped} skipped or superseded, for there was nothing left to do",
                self.ended()
            ),
            if calls == datasets {
                format!("{calls} calls of package_revise, one for each dataset with something new")
            } else {
                format!("{calls} calls of package_revise, for {datasets} datasets")
            },
        ];
        lines.extend(self.dead.iter().map(|why| format!("dead letter: {why}")));
        lines.join("\n")
    }

    /// The line about what came of changes on the portal, counted since `before` was the [`count`](Self::count).
    pub fn news(&self, before: Count) -> String {
        let Count { announced, done, skipped, dead } = self.count();
        let mut line = format!(
            "The portal announced {}: {} done, {} skipped or superseded, for there was nothing left to do",
            notifications(announced - before.announced),
            done - before.done,
            skipped - before.skipped
        );
        for why in &self.dead[before.dead..dead] {
            line = format!("{line}\ndead letter: {why}");
        }
        line
    }

    /// The numbers to compare with later.
    pub fn count(&self) -> Count {
        Count { announced: self.announced, done: self.done, skipped: self.skipped, dead: self.dead.len() }
    }

    /// All that is not as it must be at the end, one sentence each.
    pub fn differences(&self, expected: &[Expected], calls: &[Call]) -> Vec<String> {
        let mut found = mismatches(expected, self.table.lines());
        let repeated = revisions(calls).into_iter().filter(|(_, count)| *count > 1);
        found.extend(repeated.map(|(dataset, count)| {
            format!("dataset {dataset}: expected at most one call of package_revise, got {count}")
        }));
        found.extend(self.dead.iter().map(|why| format!("expected no dead letter, got one: {why}")));
        if self.unended() > 0 {
            found.push(format!("{} came to no end", notifications(self.unended())));
        }
        found
    }
}

/// How much had happened at some moment.
#[derive(Debug, Clone, Copy)]
pub struct Count {
    announced: usize,
    done: usize,
    skipped: usize,
    dead: usize,
}

fn notifications(count: usize) -> String {
    format!("{count} notification{}", if count == 1 { "" } else { "s" })
}

/// How often each dataset was revised.
fn revisions(calls: &[Call]) -> BTreeMap<&str, usize> {
    let mut revisions = BTreeMap::new();
    for call in calls {
        let matched = [&call.params["match"]["id"], &call.params["match__id"], &call.params["match"]["name"]];
        let dataset = matched.into_iter().find_map(|id| id.as_str()).unwrap_or("without id");
        *revisions.entry(dataset).or_default() += 1;
    }
    revisions
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::call::Caller;
    use super::*;

    fn revision(dataset: &str) -> Call {
        Call {
            method: "POST".to_owned(),
            action: "package_revise".to_owned(),
            params: json!({ "match": { "id": dataset } }),
            caller: Caller::Anonymous,
            status: 200,
        }
    }

    fn line(name: &str) -> ResourceLine {
        ResourceLine { resource: name.to_owned(), name: name.to_owned(), status_id: Some(12), ..Default::default() }
    }

    #[test]
    fn all_is_well_when_every_resource_has_its_line_and_every_notification_has_ended() {
        let mut progress = Progress { sent: 1, announced: 1, ..Progress::default() };
        progress.resource(line("a.csv"));
        progress.run(RunEnd::Done);
        let expected = [Expected::new("a.csv", 12)];
        assert_eq!(progress.differences(&expected, &[]), ["1 notification came to no end"]);
        progress.run(RunEnd::Skipped);
        let calls = [revision("a"), revision("b")];
        assert_eq!(progress.differences(&expected, &calls), [""; 0]);
        assert_eq!(
            progress.summary(Duration::from_millis(1240), &calls),
            "1 resources: 0 kept, 1 problem found     1.2 s\n\
             2 notifications: 1 sent, 1 announced by the portal in return\n\
             2 runs: 1 done, 1 skipped or superseded, for there was nothing left to do\n\
             2 calls of package_revise, one for each dataset with something new"
        );
    }

    #[test]
    fn what_is_not_well_is_said() {
        let mut progress = Progress { sent: 1, ..Progress::default() };
        progress.run(RunEnd::Dead("Package changed a: out of luck".to_owned()));
        let found = progress.differences(&[Expected::new("a.csv", 12)], &[revision("a"), revision("a")]);
        assert_eq!(
            found,
            [
                "a.csv: expected status 12, got no result",
                "dataset a: expected at most one call of package_revise, got 2",
                "expected no dead letter, got one: Package changed a: out of luck",
            ]
        );
    }
}
