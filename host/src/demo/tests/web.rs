//! What the web server does at each kind of path.

use std::time::Duration;

use super::super::{Behaviour, Web};
use super::*;

async fn web(path: &str, behaviour: Behaviour) -> Web {
    Web::start([(path.to_owned(), behaviour)]).await.unwrap()
}

fn csv(text: &'static str) -> Behaviour {
    Behaviour::File { mimetype: "text/csv".into(), body: text.into() }
}

async fn get(web: &Web, path: &str) -> reqwest::Response {
    client().get(format!("{}{path}", web.url())).send().await.unwrap()
}

#[test]
fn a_file_that_one_has_already_is_not_sent_again() {
    run(async {
        let web = web("/a.csv", csv("a,b\n")).await;
        let first = get(&web, "/a.csv").await;
        let (etag, modified) = (first.headers()["etag"].clone(), first.headers()["last-modified"].clone());
        assert_eq!(first.headers()["content-type"], "text/csv");
        assert_eq!(first.text().await.unwrap(), "a,b\n");
        for (header, value) in [("if-none-match", etag.clone()), ("if-modified-since", modified)] {
            let again = client().get(format!("{}/a.csv", web.url())).header(header, value).send().await.unwrap();
            assert_eq!(again.status(), 304);
        }
        web.set("/a.csv", csv("a,b\n1,2\n"));
        let url = format!("{}/a.csv", web.url());
        let changed = client().get(url).header("if-none-match", etag).send().await.unwrap();
        assert_eq!(changed.text().await.unwrap(), "a,b\n1,2\n");
        assert_eq!(web.hits("/a.csv"), 4);
        let statuses: Vec<_> = web.requests().iter().map(|hit| hit.status).collect();
        assert_eq!(statuses, [Some(200), Some(304), Some(304), Some(200)]);
        web.stop().await;
    });
}

#[test]
fn what_is_moved_missing_or_failing_says_so() {
    run(async {
        let web = web("/old", Behaviour::Moved { status: 301, to: "/new".into() }).await;
        web.set("/broken", Behaviour::Failing { status: 500 });
        let moved = get(&web, "/old").await;
        assert_eq!((moved.status().as_u16(), &moved.headers()["location"]), (301, &"/new".parse().unwrap()));
        assert_eq!(get(&web, "/broken").await.status(), 500);
        assert_eq!(get(&web, "/nowhere").await.status(), 404);
    });
}

#[test]
fn a_huge_file_says_its_length_and_an_endless_one_none() {
    run(async {
        let web = web("/huge", Behaviour::Huge { mimetype: "image/tiff".into(), bytes: 2_100_000_000 }).await;
        web.set("/endless", Behaviour::Endless { mimetype: "text/csv".into() });
        assert_eq!(get(&web, "/huge").await.headers()["content-length"], "2100000000");
        let mut endless = get(&web, "/endless").await;
        assert_eq!(endless.headers().get("content-length"), None);
        let mut received = 0;
        while received < 1_000_000 {
            received += endless.chunk().await.unwrap().expect("an endless answer goes on").len();
        }
    });
}

#[test]
fn a_server_that_is_stopped_leaves_no_answer_under_way() {
    run(async {
        let web = web("/silent", Behaviour::Silent).await;
        web.set("/endless", Behaviour::Endless { mimetype: "text/csv".into() });
        let (silent, endless) = (format!("{}/silent", web.url()), format!("{}/endless", web.url()));
        let (client, address) = (client(), web.url());
        let endless = client.get(endless).send().await.unwrap();
        let waiting = client.get(silent).timeout(Duration::from_secs(60)).send();
        let reading = endless.bytes();
        let stopping = async {
            web.asked("/silent", 1).await;
            assert_eq!(web.requests().last().unwrap().status, None);
            web.stop().await;
        };
        let _ = tokio::time::timeout(Duration::from_secs(30), async { tokio::join!(waiting, reading, stopping) })
            .await
            .expect("the server stops although answers were under way");
        assert!(client.get(address).send().await.is_err());
    });
}
