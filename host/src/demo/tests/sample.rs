//! The demo's own portal: what is on it, and that its addresses do what they are for.

use std::time::Duration;

use serde_json::json;

use super::super::{Sample, Web, data};
use super::*;

#[test]
fn the_sample_portal_shows_twelve_datasets_and_thirty_one_resources() {
    run(async {
        let sample = Sample::start().await.unwrap();
        let portal = &sample.portal;
        let (_, body) = ask_anonymously(portal, "package_search", json!({"rows": 100})).await;
        let datasets = body["result"]["results"].as_array().unwrap();
        let resources = datasets.iter().map(|dataset| dataset["resources"].as_array().unwrap().len()).sum();
        assert_eq!((datasets.len(), resources), (12, 31));
        assert_eq!(data::count(), (12, 31));
        assert_eq!(portal.backfill().len(), 14);
        for name in data::HIDDEN {
            assert_eq!(ask_anonymously(portal, "package_show", json!({"id": name})).await.0, 403);
        }
        let headline = format!("Sample portal   {}/   12 datasets, 31 resources", portal.url());
        assert_eq!(sample.headline(), headline);
        let front = client().get(portal.url()).send().await.unwrap().text().await.unwrap();
        assert_eq!((front.lines().count(), front.contains("internal-draft")), (12, false));
        sample.stop().await;
    });
}

#[test]
fn what_is_expected_of_each_address_is_what_a_plain_client_gets() {
    run(async {
        let web = Web::start(data::files()).await.unwrap();
        let client = reqwest::Client::builder().no_proxy().timeout(Duration::from_millis(500)).build().unwrap();
        for expected in data::expected() {
            let url = format!("{}/{}", web.url(), expected.name);
            let answer = client.get(&url).send().await;
            let kept = match answer {
                Ok(response) if response.status().is_success() && expected.status_id != 21 => {
                    let followed = response.url().as_str() != url;
                    assert_eq!(followed, expected.redirected, "{}", expected.name);
                    Some(response.bytes().await.unwrap().len() as u64).filter(|length| *length > 0)
                }
                _ => None,
            };
            assert_eq!(kept, expected.kept.map(|(bytes, _)| bytes), "{}", expected.name);
        }
    });
}
