//! What repeating an action would do: a plain decision by its name and its parameters.

use serde_json::{Map, Value};

/// What repeating an action does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Nothing: it changes nothing.
    Read,
    /// It leaves the same behind, however often it is done.
    Repeatable,
    /// It may do a second time what was done: make another, add once more. Never repeated blindly.
    Once,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Read, Self::Repeatable, Self::Once];
}

/// How the names of actions end that change nothing.
const READS: [&str; 6] = ["_show", "_list", "_search", "_autocomplete", "_count", "_list_for_user"];
/// Actions that change nothing and are named otherwise.
const OTHER_READS: [&str; 10] = [
    "activity_diff",
    "current_package_list_with_resources",
    "datastore_info",
    "datastore_search_sql",
    "get_site_user",
    "group_list_authz",
    "am_following_dataset",
    "am_following_group",
    "am_following_user",
    "worker_outbox_poll",
];
/// How the names of actions end that leave the same behind however often they are done.
const REPEATABLES: [&str; 6] = ["_update", "_patch", "_delete", "_purge", "_update_many", "_reorder"];
/// Actions of that kind that are named otherwise.
const OTHER_REPEATABLES: [&str; 4] =
    ["bulk_update_delete", "bulk_update_private", "bulk_update_public", "worker_outbox_ack"];

/// Judges an action by its name and its parameters, a JSON object. What is not known is done once.
pub fn kind(name: &str, body: &[u8]) -> Kind {
    let ends_with = |ends: &[&str]| ends.iter().any(|end| name.ends_with(end));
    match name {
        "package_revise" => parameters(body).map_or(Kind::Once, |parameters| revise(&parameters)),
        "datastore_upsert" => parameters(body).map_or(Kind::Once, |parameters| upsert(&parameters)),
        _ if OTHER_READS.contains(&name) || ends_with(&READS) => Kind::Read,
        _ if OTHER_REPEATABLES.contains(&name) || ends_with(&REPEATABLES) => Kind::Repeatable,
        _ => Kind::Once,
    }
}

fn parameters(body: &[u8]) -> Option<Map<String, Value>> {
    serde_json::from_slice(body).ok()
}

/// What is set by name is set; what is added or taken away by its place would be so a second time.
fn revise(parameters: &Map<String, Value>) -> Kind {
    let extends = |key: &String| key.starts_with("update__") && key.ends_with("__extend");
    let filters = match parameters.get("filter") {
        Some(Value::String(text)) => text.split(',').any(names_a_place),
        Some(Value::Array(patterns)) => patterns.iter().filter_map(Value::as_str).any(names_a_place),
        Some(_) => true,
        None => false,
    };
    if filters || parameters.keys().any(extends) { Kind::Once } else { Kind::Repeatable }
}

fn names_a_place(pattern: &str) -> bool {
    pattern.trim().trim_start_matches(['+', '-']).split("__").any(|part| part.parse::<i64>().is_ok())
}

fn upsert(parameters: &Map<String, Value>) -> Kind {
    match parameters.get("method").and_then(Value::as_str) {
        None if !parameters.contains_key("method") => Kind::Repeatable,
        Some("upsert" | "update") => Kind::Repeatable,
        _ => Kind::Once,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_be_repeated_is_known_by_name_and_parameters() {
        let check =
            |name: &str, body: &str, expected: Kind| assert_eq!(kind(name, body.as_bytes()), expected, "{name} {body}");
        for name in [
            "package_show",
            "package_list",
            "package_search",
            "tag_autocomplete",
            "status_show",
            "help_show",
            "datastore_info",
            "datastore_search_sql",
            "organization_list_for_user",
            "group_follower_count",
            "current_package_list_with_resources",
            "resource_validation_show",
            "user_show",
        ] {
            check(name, "{}", Kind::Read);
        }
        for name in [
            "package_update",
            "package_patch",
            "resource_patch",
            "package_delete",
            "dataset_purge",
            "task_status_update",
            "task_status_update_many",
            "package_resource_reorder",
            "package_owner_org_update",
            "bulk_update_private",
            "datastore_records_delete",
            "vocabulary_update",
        ] {
            check(name, "{}", Kind::Repeatable);
        }
        for name in [
            "package_create",
            "resource_create",
            "datastore_create",
            "member_create",
            "follow_dataset",
            "datastore_run_triggers",
            "xloader_submit",
            "send_email_notifications",
            "no_such_action",
            "",
        ] {
            check(name, r#"{"id": "x"}"#, Kind::Once);
        }
    }

    #[test]
    fn a_revision_that_adds_is_sent_once() {
        let check =
            |body: &str, expected: Kind| assert_eq!(kind("package_revise", body.as_bytes()), expected, "{body}");
        check(r#"{"match": {"id": "x"}, "update__resources__abcde": {"hash": "1"}}"#, Kind::Repeatable);
        check(
            r#"{"match__id": "x", "update": {"notes": "n"}, "filter": ["-resources__abcde__tags"]}"#,
            Kind::Repeatable,
        );
        check(r#"{"match__id": "x", "update__resources__extend": [{"url": "u"}]}"#, Kind::Once);
        check(r#"{"match__id": "x", "filter": ["-resources__0"]}"#, Kind::Once);
        check(r#"{"match__id": "x", "filter": "+tags, -resources__-1"}"#, Kind::Once);
        check(r#"{"match__id": "x", "filter": 7}"#, Kind::Once);
        check("[", Kind::Once);
    }

    #[test]
    fn rows_that_are_inserted_are_sent_once() {
        let check =
            |body: &str, expected: Kind| assert_eq!(kind("datastore_upsert", body.as_bytes()), expected, "{body}");
        check(r#"{"resource_id": "r"}"#, Kind::Repeatable);
        check(r#"{"method": "upsert"}"#, Kind::Repeatable);
        check(r#"{"method": "update"}"#, Kind::Repeatable);
        check(r#"{"method": "insert"}"#, Kind::Once);
        check(r#"{"method": 7}"#, Kind::Once);
        check("", Kind::Once);
    }
}
