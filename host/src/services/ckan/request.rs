//! Writes a call as CKAN reads it: its address and its query.

use serde_json::{Map, Value};
use url::Url;

use super::settings::SetupError;

/// Where a portal takes calls: ends in `/api/3/action/`. A `root_path` stands in for a path that `site` does not have.
pub(super) fn actions_url(site: &Url, root_path: Option<&str>) -> Result<Url, SetupError> {
    if !matches!(site.scheme(), "http" | "https") {
        return Err(SetupError::SiteUrl("it does not begin with `http://` or `https://`"));
    }
    if !site.username().is_empty() || site.password().is_some() {
        return Err(SetupError::SiteUrl("it contains a user or a password"));
    }
    if site.query().is_some() || site.fragment().is_some() {
        return Err(SetupError::SiteUrl("it contains a `?` or a `#`"));
    }
    let mut url = site.clone();
    // A portal may live below its host's root: `https://city.example/data/`.
    let path = match (site.path().trim_matches('/'), root_path) {
        // CKAN writes where the language stands in a page's address; its API has none.
        ("", Some(root)) => root.replace("{{LANG}}", ""),
        (path, _) => path.to_owned(),
    };
    let path: String = path.split('/').filter(|part| !part.is_empty()).flat_map(|part| ["/", part]).collect();
    url.set_path(&format!("{path}/api/3/action/"));
    Ok(url)
}

/// Writes a JSON object as CKAN reads a query: a list is its name several times, what is deeper stays JSON.
pub(super) fn query_pairs(query: &[u8]) -> Result<Vec<(String, String)>, String> {
    if query.is_empty() {
        return Ok(Vec::new());
    }
    let query: Map<String, Value> =
        serde_json::from_slice(query).map_err(|error| format!("the parameters are no JSON object: {error}"))?;
    let mut pairs = Vec::new();
    for (name, value) in query {
        match value {
            Value::Null => {}
            Value::Array(values) => pairs.extend(values.into_iter().map(|value| (name.clone(), query_text(value)))),
            value => pairs.push((name, query_text(value))),
        }
    }
    Ok(pairs)
}

fn query_text(value: Value) -> String {
    match value {
        Value::String(text) => text,
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_portal_may_live_below_the_root_of_its_host() {
        let check = |site: &str, root: Option<&str>, expected: &str| {
            assert_eq!(actions_url(&site.parse().unwrap(), root).unwrap().as_str(), expected);
        };
        check("https://data.example", None, "https://data.example/api/3/action/");
        check("https://data.example/", None, "https://data.example/api/3/action/");
        check("http://city.example:8080/data/", None, "http://city.example:8080/data/api/3/action/");
        check("https://city.example", Some("/data/{{LANG}}"), "https://city.example/data/api/3/action/");
        check("https://city.example/", Some("/{{LANG}}/data/"), "https://city.example/data/api/3/action/");
        check("https://city.example", Some("{{LANG}}"), "https://city.example/api/3/action/");
        check("https://city.example/other", Some("/data/{{LANG}}"), "https://city.example/other/api/3/action/");
    }

    #[test]
    fn parameters_become_a_query_as_ckan_reads_it() {
        let pairs = query_pairs(br#"{"fq":["x","y"],"id":"a&b","none":null,"private":true,"rows":5}"#).unwrap();
        let pairs: Vec<String> = pairs.into_iter().map(|(name, value)| format!("{name}={value}")).collect();
        assert_eq!(pairs, ["fq=x", "fq=y", "id=a&b", "private=true", "rows=5"]);
        assert!(query_pairs(b"[1]").is_err());
        assert!(query_pairs(b"").unwrap().is_empty());
    }
}
