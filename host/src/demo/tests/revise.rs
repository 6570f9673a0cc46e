//! `package_revise`, the one write that workers need.

use serde_json::json;

use super::*;

#[test]
fn one_revision_changes_two_resources_and_names_the_dataset_changed() {
    run(async {
        let portal = portal().await;
        let (a, b) = (id_of(&portal, "a.csv"), id_of(&portal, "b.csv"));
        let mut notices = portal.notices();
        let mut params = json!({"match": {"name": "rivers"}, "include": ["+package__id", "-*"]});
        params[format!("update__resources__{a}")] = json!({"hash": "1", "size": 10});
        params[format!("update__resources__{}__size", &b[..5])] = json!("20");
        let (status, body) = ask(&portal, "package_revise", params).await;
        let id = portal.package("rivers").unwrap()["id"].clone();
        assert_eq!((status, &body["result"]), (200, &json!({"package": {"id": id}})));
        assert_eq!(body["changed_entities"], json!({"packages": [id]}));
        assert_eq!(portal.resource(&a).unwrap()["hash"], "1");
        assert_eq!(
            (&portal.resource(&a).unwrap()["size"], &portal.resource(&b).unwrap()["size"]),
            (&json!(10), &json!(20))
        );
        let keys: Vec<_> = std::iter::from_fn(|| notices.try_recv().ok()).map(|notice| notice.routing_key).collect();
        assert_eq!(keys, ["Resource", "Resource", "Package"]);
    });
}

#[test]
fn nested_updates_merge_by_position() {
    run(async {
        let portal = portal().await;
        let update = json!({"notes": "long", "resources": [{}, {"hash": "2"}]});
        let (status, body) =
            ask(&portal, "package_revise", json!({"match": {"name": "rivers"}, "update": update})).await;
        assert_eq!((status, &body["result"]["package"]["notes"]), (200, &json!("long")));
        assert_eq!(
            (&portal.resource("a.csv").unwrap()["hash"], &portal.resource("b.csv").unwrap()["hash"]),
            (&json!("old"), &json!("2"))
        );
    });
}

#[test]
fn a_resource_can_be_added_and_named_in_the_same_revision() {
    run(async {
        let portal = portal().await;
        let params = json!({
            "match__name": "rivers", "update__resources__extend": [{"name": "c.csv", "url": "http://files.example/c"}],
            "update__resources__-1__format": "CSV",
        });
        assert_eq!(ask(&portal, "package_revise", params).await.0, 200);
        assert_eq!(portal.resource("c.csv").unwrap()["format"], "CSV");
        assert_eq!(portal.package("rivers").unwrap()["num_resources"], 3);
    });
}

#[test]
fn a_revision_that_says_nothing_new_is_quiet() {
    run(async {
        let portal = portal().await;
        let before = portal.package("rivers").unwrap();
        let mut notices = portal.notices();
        let (status, body) =
            ask(&portal, "package_revise", json!({"match__name": "rivers", "update__resources__0__hash": "old"})).await;
        assert_eq!((status, body.get("changed_entities")), (200, None));
        assert!(notices.try_recv().is_err());
        assert_eq!(portal.package("rivers").unwrap(), before);
    });
}

#[test]
fn a_revision_that_is_refused_changes_nothing() {
    run(async {
        let portal = portal().await;
        let before = portal.package("rivers").unwrap();
        let good = "update__resources__0__hash";
        for (params, status, error) in [
            (
                json!({good: "1", "update__resources__1__size": "big"}),
                409,
                json!({"resources": [{}, {"size": ["Invalid integer"]}]}),
            ),
            (
                json!({good: "1", "update__resources__abcdef__size": 1}),
                409,
                json!({"update__resources__abcdef__size": ["Unmatched key resources__abcdef"]}),
            ),
            (
                json!({good: "1", "update": {"resources": "all"}}),
                409,
                json!({"update": ["Expected list for resources"]}),
            ),
            (json!({good: "1", "match__resources__0__hash": "other"}), 409, json!({"match": ["resources__0__hash"]})),
            (
                json!({good: "1", "match": {"resources": [{"hash": "other"}]}}),
                409,
                json!({"match": ["resources__0__hash"]}),
            ),
        ] {
            let mut call = params.clone();
            call["match__name"] = "rivers".into();
            let (got, body) = ask(&portal, "package_revise", call).await;
            let mut error = error;
            error["__type"] = "Validation Error".into();
            assert_eq!((got, &body["error"]), (status, &error), "{params}");
        }
        let (status, body) =
            ask(&portal, "package_revise", json!({"match__name": "rivers", "match__resources__abcdef__hash": "1"}))
                .await;
        assert_eq!((status, &body["error"]["__type"]), (400, &json!("Integrity Error")));
        assert_eq!(portal.package("rivers").unwrap(), before);
    });
}

#[test]
fn four_letters_of_an_id_are_too_few() {
    run(async {
        let portal = portal().await;
        let id = id_of(&portal, "a.csv");
        let mut params = json!({"match__name": "rivers"});
        params[format!("update__resources__{}__hash", &id[..4])] = json!("1");
        assert_eq!(ask(&portal, "package_revise", params).await.0, 409);
    });
}

#[test]
fn a_revision_needs_a_dataset_and_a_token() {
    run(async {
        let portal = portal().await;
        let (status, body) = ask(&portal, "package_revise", json!({"update": {"notes": "x"}})).await;
        assert_eq!((status, &body["error"]["match__id"]), (409, &json!(["Missing value"])));
        assert_eq!(ask(&portal, "package_revise", json!({"match": {"id": "nowhere"}})).await.0, 404);
        let params = json!({"match": {"name": "rivers"}, "update": {"notes": "x"}});
        assert_eq!(ask_anonymously(&portal, "package_revise", params).await.0, 403);
    });
}

#[test]
fn of_two_revisions_that_expect_the_same_value_one_wins() {
    run(async {
        let portal = portal().await;
        let revision = |hash: &str| json!({"match__name": "rivers", "match__resources__0__hash": "old", "update__resources__0__hash": hash});
        let (one, other) =
            tokio::join!(ask(&portal, "package_revise", revision("1")), ask(&portal, "package_revise", revision("2")));
        let mut statuses = [one.0, other.0];
        statuses.sort_unstable();
        assert_eq!(statuses, [200, 409]);
    });
}

#[test]
fn a_list_is_merged_unless_it_is_taken_away_first() {
    run(async {
        let portal = portal().await;
        let none = json!({"match__name": "rivers", "update": {"tags": []}});
        assert_eq!(ask(&portal, "package_revise", none.clone()).await.0, 200);
        assert_eq!(portal.package("rivers").unwrap()["tags"][0]["name"], "water");
        let mut filtered = none;
        filtered["filter"] = json!(["-tags"]);
        assert_eq!(ask(&portal, "package_revise", filtered).await.0, 200);
        assert_eq!(portal.package("rivers").unwrap()["tags"], json!([]));
    });
}
