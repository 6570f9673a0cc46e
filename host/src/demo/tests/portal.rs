//! The envelope, who may do what, and what is remembered.

use serde_json::json;

use super::super::Caller;
use super::*;

#[test]
fn a_result_comes_in_ckans_envelope() {
    run(async {
        let portal = portal().await;
        let (status, body) = ask_anonymously(&portal, "package_show", json!({"id": "rivers"})).await;
        assert_eq!(status, 200);
        assert_eq!(body["success"], true);
        assert_eq!(body["help"], format!("{}/api/3/action/help_show?name=package_show", portal.url()));
        assert_eq!(body["result"]["name"], "rivers");
        assert_eq!(body["result"]["extras"], json!([{"key": "theme", "value": "nature"}]));
        assert_eq!(body["result"]["resources"][1]["state"], "active");
        portal.stop().await;
    });
}

#[test]
fn what_is_not_there_is_a_404_and_what_is_hidden_a_403() {
    run(async {
        let portal = portal().await;
        for (action, id, status, kind, message) in [
            ("package_show", "nowhere", 404, "Not Found Error", "Not found"),
            ("resource_show", "nowhere", 404, "Not Found Error", "Not found: Resource was not found."),
            (
                "package_show",
                "secret",
                403,
                "Authorization Error",
                "Access denied: User  not authorized to package show",
            ),
            ("package_show", "gone", 403, "Authorization Error", "Access denied: User  not authorized to package show"),
            (
                "package_patch",
                "rivers",
                403,
                "Authorization Error",
                "Access denied: User  not authorized to package patch",
            ),
        ] {
            let (got, body) = ask_anonymously(&portal, action, json!({"id": id})).await;
            assert_eq!((got, &body["error"]), (status, &json!({"__type": kind, "message": message})), "{action} {id}");
            assert_eq!(body["success"], false);
        }
        assert_eq!(ask(&portal, "package_show", json!({"id": "secret"})).await.0, 200);
        let (status, body) = ask(&portal, "package_show", json!({})).await;
        assert_eq!((status, &body["error"]), (409, &json!({"__type": "Validation Error", "id": ["Missing value"]})));
    });
}

#[test]
fn a_request_that_is_not_one_is_answered_with_a_bare_string() {
    run(async {
        let portal = portal().await;
        for (action, body) in [("no_such_action", "{}"), ("package_show", "{"), ("package_show", "[]")] {
            let (status, body) = post(&portal, action, body.into(), Some(TOKEN)).await;
            assert!(
                status == 400 && body.as_str().is_some_and(|text| text.starts_with("Bad request")),
                "{action} {body}"
            );
        }
        let url = format!("{}/api/3/action/package_patch?id=rivers&notes=x", portal.url());
        let response = client().get(url).header("Authorization", TOKEN).send().await.unwrap();
        assert_eq!(response.status(), 400);
        assert!(response.json::<Value>().await.unwrap().is_string());
        assert_eq!(portal.package("rivers").unwrap()["notes"], "");
    });
}

#[test]
fn a_path_beside_the_api_is_an_html_page_that_says_404() {
    run(async {
        let portal = portal().await;
        let url = format!("{}/ckan/api/3/action/status_show", portal.url());
        let response = client().post(url).body("{}").send().await.unwrap();
        assert_eq!(response.status(), 404);
        assert!(response.text().await.unwrap().starts_with("<!DOCTYPE html>"));
        assert_eq!(portal.calls(), []);
    });
}

#[test]
fn a_token_proves_itself_with_user_show() {
    run(async {
        let portal = portal().await;
        let (status, body) = ask(&portal, "user_show", json!({})).await;
        assert_eq!((status, &body["result"]["name"]), (200, &json!("archiver")));
        assert_eq!(ask_anonymously(&portal, "user_show", json!({})).await.0, 404);
        assert_eq!(post(&portal, "user_show", "{}".into(), Some("expired")).await.0, 404);
        // A wrong token is silently nobody's, but reads what everyone may read.
        assert_eq!(post(&portal, "status_show", String::new(), Some("expired")).await.0, 200);
        let callers: Vec<_> = portal.calls().into_iter().map(|call| call.caller).collect();
        let known = Caller::User("archiver".into());
        assert_eq!(callers, [known, Caller::Anonymous, Caller::UnknownToken, Caller::UnknownToken]);
    });
}

#[test]
fn a_search_shows_what_is_public_page_by_page() {
    run(async {
        let portal = portal().await;
        portal.create(Dataset::new("lakes"));
        let url = format!("{}/api/3/action/package_search?q=*:*&rows=1&start=1", portal.url());
        let body: Value = client().get(url).send().await.unwrap().json().await.unwrap();
        assert_eq!((&body["result"]["count"], &body["result"]["results"][0]["name"]), (&json!(2), &json!("lakes")));
        assert_eq!(body["result"]["results"].as_array().unwrap().len(), 1);
        let (_, body) = ask(&portal, "package_list", json!({})).await;
        assert_eq!(body["result"], json!(["rivers", "lakes"]));
    });
}

#[test]
fn every_call_is_remembered_with_its_parameters() {
    run(async {
        let portal = portal().await;
        let refused = ask_anonymously(&portal, "package_patch", json!({"id": "rivers", "notes": "x"}));
        let ((), _) = tokio::join!(portal.called("package_patch", 1), refused);
        ask(&portal, "status_show", json!({})).await;
        let call = &portal.calls_of("package_patch")[0];
        assert_eq!((call.method.as_str(), call.status), ("POST", 403));
        assert_eq!(call.params, json!({"id": "rivers", "notes": "x"}));
        assert_eq!(portal.calls().len(), 2);
    });
}

#[test]
fn a_failure_ordered_for_an_action_is_answered_once_and_changes_nothing() {
    run(async {
        let portal = portal().await;
        portal.fail_next_with("package_patch", 503, "<html>down</html>", &[("Retry-After", "2")]);
        let patch = json!({"id": "rivers", "notes": "x"}).to_string();
        let url = format!("{}/api/3/action/package_patch", portal.url());
        let response = client().post(&url).header("Authorization", TOKEN).body(patch.clone()).send().await.unwrap();
        assert_eq!((response.status().as_u16(), &response.headers()["retry-after"]), (503, &"2".parse().unwrap()));
        assert!(response.headers()["content-type"].to_str().unwrap().starts_with("text/html"));
        assert_eq!(portal.package("rivers").unwrap()["notes"], "");
        let again = client().post(&url).header("Authorization", TOKEN).body(patch).send().await.unwrap();
        assert_eq!(again.status(), 200);
        assert_eq!(portal.package("rivers").unwrap()["notes"], "x");
    });
}

#[test]
fn a_dataset_is_announced_in_the_published_shape() {
    run(async {
        let portal = portal().await;
        let body = portal.notification("rivers", "changed").unwrap();
        assert!(body.starts_with(br#"{"routing_key":"Package","operation":"changed","payload":{"#));
        let payload = &said(&body)["payload"];
        assert_eq!((&payload["extras"], &payload["tags"]), (&json!({"theme": "nature"}), &json!(["water"])));
        assert_eq!(payload["resources"][0].get("state"), None);
        let mut keys: Vec<_> = payload.as_object().unwrap().keys().map(String::as_str).collect();
        keys.sort_unstable();
        assert_eq!(keys.join(" "), AS_DICT_KEYS);

        let body = said(&portal.notification(&id_of(&portal, "a.csv"), "new").unwrap());
        assert_eq!((&body["routing_key"], &body["operation"]), (&json!("Resource"), &json!("new")));
        assert_eq!(body["payload"]["package_id"], payload["id"]);
        assert_eq!(body["payload"].as_object().unwrap().len(), 18);
        assert_eq!(portal.notification("nowhere", "changed"), None);
    });
}

const AS_DICT_KEYS: &str = "author author_email ckan_url creator_user_id extras groups id isopen license license_id \
    maintainer maintainer_email metadata_created metadata_modified name notes notes_rendered owner_org plugin_data \
    private relationships resources state tags title type url version";

#[test]
fn what_is_committed_is_announced_and_what_changes_nothing_is_not() {
    run(async {
        let portal = portal().await;
        let mut notices = portal.notices();
        ask(&portal, "resource_patch", json!({"id": id_of(&portal, "b.csv"), "hash": "new"})).await;
        ask(&portal, "resource_patch", json!({"id": id_of(&portal, "b.csv"), "hash": "new"})).await;
        ask_anonymously(&portal, "package_patch", json!({"id": "rivers", "notes": "x"})).await;
        portal.edit("rivers", |package| drop(package.insert("title".into(), "All rivers".into())));
        portal.create(Dataset::new("lakes").resource("c.csv", "http://files.example/c.csv", "CSV"));
        let mut said = Vec::new();
        while let Ok(notice) = notices.try_recv() {
            said.push(format!("{} {}", notice.routing_key, notice.operation));
        }
        assert_eq!(
            said,
            [
                "Resource changed",
                "Package changed",
                "Package changed",
                "Package new",
                "Resource new",
                "Package changed"
            ]
        );
    });
}
