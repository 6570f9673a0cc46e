//! Prints what a dry run would have written.

use std::io::{Write as _, stdout};

use serde_json::{Value, json};

use crate::cli::Format;
use crate::observe::Observer;

/// Prints each write that a dry run did not send, a line for each change, or a JSON object for each write.
pub(super) struct Printer(Format);

impl Printer {
    pub(super) fn new(format: Format) -> Self {
        Self(format)
    }
}

impl Observer for Printer {
    fn would_write(&self, action: &str, parameters: &Value) {
        let text = match self.0 {
            Format::Json => json!({ "action": action, "parameters": parameters }).to_string(),
            Format::Text => text(action, parameters),
        };
        // Whoever reads, as in `| head`, may have seen enough.
        let _ = writeln!(stdout(), "{text}");
    }
}

fn text(action: &str, parameters: &Value) -> String {
    let Some(changes) = parameters["changes"].as_array() else {
        return format!("would call {action} with {parameters}");
    };
    let dataset = parameters["id"].as_str().unwrap_or_default();
    let lines = changes.iter().map(|change| {
        let field = change["field"].as_str().unwrap_or_default();
        let place = change["resource"].as_str().map_or_else(String::new, |id| format!(" resource {id}"));
        format!("would change {dataset}{place}: {field} from {} to {}", change["from"], change["to"])
    });
    lines.collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_change_is_a_line_and_any_other_call_is_one() {
        let changes = json!([
            { "resource": "r1", "field": "hash", "from": null, "to": "ab" },
            { "resource": null, "field": "notes", "from": "x", "to": "y" },
        ]);
        assert_eq!(
            text("package_revise", &json!({ "id": "d1", "changes": changes })),
            "would change d1 resource r1: hash from null to \"ab\"\nwould change d1: notes from \"x\" to \"y\""
        );
        assert_eq!(text("package_patch", &json!({ "id": "d1" })), "would call package_patch with {\"id\":\"d1\"}");
    }
}
