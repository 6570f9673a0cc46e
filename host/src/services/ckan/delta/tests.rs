use super::*;

const A: &str = "aaaaaaaa-0000-4000-8000-000000000001";
const B: &str = "bbbbbbbb-0000-4000-8000-000000000002";

fn dataset() -> Value {
    json!({
        "id": "p1", "name": "rivers", "notes": "short", "metadata_modified": "2026-01-01T00:00:00", "private": false,
        "tags": [{"name": "water", "display_name": "water"}],
        "resources": [
            {"id": A, "hash": "old", "size": 7, "mimetype": null, "metadata_modified": "2026-01-01T00:00:01"},
            {"id": B, "hash": "", "metadata_modified": "2026-01-01T00:00:02"},
        ],
    })
}

fn object(value: Value) -> Map<String, Value> {
    if let Value::Object(fields) = value { fields } else { Map::new() }
}

fn of_resource(id: &str, fields: Value) -> Delta {
    Delta { resource: Some(id.to_owned()), fields: object(fields), ..Delta::default() }
}

fn of_package(fields: Value) -> Delta {
    Delta { fields: object(fields), ..Delta::default() }
}

fn expecting(delta: Delta, expect: Value) -> Delta {
    Delta { expect: object(expect), ..delta }
}

fn made(deltas: &[Delta]) -> Revision {
    revision(&dataset(), deltas).unwrap().unwrap()
}

#[test]
fn all_that_differs_becomes_one_revision() {
    let deltas = [
        of_resource(A, json!({"hash": "new", "size": 7, "mimetype": null})),
        of_resource(B, json!({"hash": "b", "size": "12"})),
        of_package(json!({"notes": "long", "private": false})),
    ];
    let revision = made(&deltas);
    assert_eq!(
        Value::Object(revision.parameters),
        json!({
            "match": {"id": "p1"}, "update": {"notes": "long"},
            format!("update__resources__{A}"): {"hash": "new"},
            format!("update__resources__{B}"): {"hash": "b", "size": 12},
        })
    );
    assert_eq!(revision.paths, ["notes", "resources.*.hash", "resources.*.size"]);
    assert_eq!((revision.changed, revision.unchanged, revision.package.as_str()), (3, 0, "p1"));
    let after = &revision.after;
    assert_eq!((&after["notes"], &after["resources"][0]["hash"]), (&json!("long"), &json!("new")));
    assert_eq!((&after["resources"][1]["size"], &after["resources"][0]["size"]), (&json!(12), &json!(7)));
    let change = revision.changes.iter().find(|change| change.resource.as_deref() == Some(A)).unwrap();
    assert_eq!((&change.from, &change.to), (&json!("old"), &json!("new")));
}

#[test]
fn what_is_equal_makes_no_revision() {
    let equal = [
        of_resource(A, json!({"hash": "old", "size": "7", "mimetype": null, "never_set": null, "id": A})),
        of_package(json!({"tags": [{"name": "water"}]})),
        of_resource(B, json!({})),
    ];
    assert_eq!(revision(&dataset(), &equal).unwrap(), None);
    assert_eq!(things(&equal), 3);
    let mut one_differs = equal.to_vec();
    one_differs.push(of_resource(B, json!({"hash": "b"})));
    let made = made(&one_differs);
    assert_eq!((made.changed, made.unchanged), (1, 2));
}

#[test]
fn later_changes_win() {
    let revision = made(&[of_resource(A, json!({"hash": "1", "size": 1})), of_resource(A, json!({"hash": "2"}))]);
    assert_eq!(revision.parameters[&format!("update__resources__{A}")], json!({"hash": "2", "size": 1}));
    let back = [of_resource(A, json!({"hash": "1"})), of_resource(A, json!({"hash": "old"}))];
    assert_eq!(super::revision(&dataset(), &back).unwrap(), None);
}

#[test]
fn a_list_is_replaced_and_not_merged() {
    let revision = made(&[of_package(json!({"tags": []}))]);
    assert_eq!(revision.parameters["filter"], json!(["-tags"]));
    assert_eq!(revision.parameters["update"], json!({"tags": []}));
    assert_eq!(revision.after["tags"], json!([]));
}

#[test]
fn what_is_expected_is_compared_here_and_by_ckan() {
    let delta = expecting(of_resource(A, json!({"hash": "new"})), json!({"hash": "old", "size": "7"}));
    let package = expecting(of_package(json!({"notes": "n"})), json!({"notes": "short"}));
    let revision = made(&[delta.clone(), package]);
    assert_eq!(revision.parameters["match"], json!({"id": "p1", "notes": "short"}));
    assert_eq!(revision.parameters[&format!("match__resources__{A}__hash")], "old");
    assert_eq!(revision.parameters[&format!("match__resources__{A}__size")], 7);

    let lost = expecting(delta, json!({"hash": "other"}));
    let failure = super::revision(&dataset(), &[lost]).unwrap_err();
    assert_eq!((failure.code, failure.status), (LOST_RACE, ckan_worker_abi::Status::RETRY));
}

#[test]
fn what_is_expected_to_be_missing_is_guarded_by_the_time_of_the_last_change() {
    let revision = made(&[expecting(of_resource(B, json!({"size": 1})), json!({"size": null}))]);
    assert_eq!(revision.parameters[&format!("match__resources__{B}__metadata_modified")], "2026-01-01T00:00:02");
}

#[test]
fn what_was_noted_before_counts_as_there() {
    let first = expecting(of_resource(A, json!({"hash": "1"})), json!({"hash": "old"}));
    let second = expecting(of_resource(A, json!({"hash": "2"})), json!({"hash": "1"}));
    let revision = made(&[first, second]);
    assert_eq!(revision.parameters[&format!("match__resources__{A}__hash")], "old");
    assert_eq!(revision.changes[0].to, "2");
}

#[test]
fn an_id_that_is_no_name_is_told_by_its_place() {
    let mut dataset = dataset();
    dataset["resources"][1]["id"] = json!("r__2");
    let revision = super::revision(&dataset, &[of_resource("r__2", json!({"hash": "b"}))]).unwrap().unwrap();
    assert_eq!(
        Value::Object(revision.parameters),
        json!({"match": {"id": "p1"}, "match__resources__1__id": "r__2", "update__resources__1": {"hash": "b"}})
    );
}

#[test]
fn what_cannot_be_changed_this_way_is_refused() {
    let check = |delta: Delta, code: &str| assert_eq!(revision(&dataset(), &[delta]).unwrap_err().code, code);
    check(of_resource("nowhere", json!({"hash": "x"})), NOT_FOUND);
    check(of_resource(A, json!({"id": B})), "ckan.bad-request");
    check(of_package(json!({"resources": []})), "ckan.bad-request");
    assert_eq!(revision(&json!({}), &[]).unwrap_err().code, "ckan.bad-request");
}
