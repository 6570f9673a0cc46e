//! Lists datasets as the portal's search knows them, page by page, by what stands last on the page before: a page
//! number would skip what moves while it is turned.

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{Client, answer};
use crate::guard::{Fingerprint, View};
use crate::services::Failure;

/// What the search is asked for of each dataset: enough to see whether it is different, and cheap.
const FIELDS: [&str; 9] = [
    "id",
    "metadata_modified",
    "metadata_created",
    "state",
    "capacity",
    "owner_org",
    "groups",
    "res_url",
    "res_format",
];

/// How long a stamp is that the search compares: to the millisecond, as in `2026-01-01T00:00:00.123`.
const STAMP_LENGTH: usize = 23;

/// Which datasets are listed, in which order, from where.
#[derive(Debug, Clone, Copy)]
pub struct Listing<'a> {
    /// What is searched for, in the search's own language; `None` for all.
    pub query: Option<&'a str>,
    /// Changed at this stamp or later; `None` for all.
    pub since: Option<&'a str>,
    /// Changed at this stamp or earlier, or at a time in the search's own language, as in `NOW+5MINUTES`.
    pub until: Option<&'a str>,
    /// The order, and what has been listed in it already.
    pub order: Order<'a>,
    /// How many at most; the portal may answer fewer although there are more.
    pub rows: usize,
}

/// The order of a listing, and what has been listed in it already.
#[derive(Debug, Clone, Copy)]
pub enum Order<'a> {
    /// By id, those behind this one.
    ById(Option<&'a str>),
    /// By stamp and id, those behind this stamp and id.
    ByStamp(Option<(&'a str, &'a str)>),
    /// The newest first.
    Newest,
}

/// A dataset as the search lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Its id.
    pub id: String,
    /// When it was changed, to the millisecond, in the search's own form: `2026-01-01T00:00:00.123Z`.
    pub stamp: String,
    /// When it was made, in the same form.
    pub created: String,
    /// Stands for all that was listed of it.
    pub look: Fingerprint,
}

impl Client {
    /// Lists datasets, those of private and draft ones that the token may see among them. Nothing more is there when a
    /// page is empty.
    ///
    /// # Errors
    /// As [`action`](Self::action); `ckan.incompatible` if the search does not answer what was asked for.
    pub async fn list(&self, listing: &Listing<'_>) -> Result<Vec<Listed>, Failure> {
        let rows = self.search(&parameters(listing)).await?;
        let page = rows.iter().map(listed).collect::<Result<Vec<_>, _>>()?;
        // Whoever went on behind the last of such a page would list it for ever.
        if !page.iter().all(|listed| is_behind(&listing.order, listed)) {
            return Err(drops_filters("it lists what it was asked to leave out"));
        }
        Ok(page)
    }

    /// The datasets of these ids as the search knows them, in the shape of `package_show`; without those that it does
    /// not know. A portal answers at most 1,000, some fewer: ask for 100.
    ///
    /// # Errors
    /// As [`action`](Self::action).
    pub async fn datasets(&self, ids: &[&str]) -> Result<Vec<Value>, Failure> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let any: Vec<String> = ids.iter().map(|id| quoted(id)).collect();
        let filter = format!("id:({})", any.join(" OR "));
        let asked = json!({ "fq": filter, "rows": ids.len(), "include_private": true, "include_drafts": true });
        self.search(&asked).await
    }

    /// The dataset of this id as it is in the database, in the shape of `package_show`; one that is not there yet is not
    /// waited for.
    ///
    /// # Errors
    /// As [`action`](Self::action); `ckan.not-found` if it is not there.
    pub async fn dataset_now(&self, id: &str) -> Result<Map<String, Value>, Failure> {
        const NAME: &str = "package_show";
        match self.show(NAME, id).await? {
            Value::Object(dataset) => Ok(dataset),
            _ => Err(answer::incompatible(NAME, "expected an object")),
        }
    }

    /// How many datasets [`list`](Self::list) would list, page after page.
    ///
    /// # Errors
    /// As [`list`](Self::list).
    pub async fn count(&self, listing: &Listing<'_>) -> Result<u64, Failure> {
        #[derive(Deserialize)]
        struct Counted {
            count: u64,
        }
        const NAME: &str = "package_search";
        let asked = parameters(&Listing { rows: 0, ..*listing });
        let counted = self.action(NAME, asked.to_string()).await?;
        let counted: Counted =
            serde_json::from_slice(&counted).map_err(|error| answer::incompatible(NAME, &error.to_string()))?;
        Ok(counted.count)
    }

    async fn search(&self, parameters: &Value) -> Result<Vec<Value>, Failure> {
        #[derive(Deserialize)]
        struct Found {
            results: Vec<Value>,
        }
        const NAME: &str = "package_search";
        let found = self.action(NAME, parameters.to_string()).await?;
        let found: Found =
            serde_json::from_slice(&found).map_err(|error| answer::incompatible(NAME, &error.to_string()))?;
        Ok(found.results)
    }
}

fn parameters(listing: &Listing<'_>) -> Value {
    let mut filters = Vec::new();
    if listing.since.is_some() || listing.until.is_some() {
        let since = listing.since.unwrap_or("*");
        filters.push(format!("metadata_modified:[{since} TO {}]", listing.until.unwrap_or("*")));
    }
    let sort = match listing.order {
        Order::ById(behind) => {
            filters.extend(behind.map(|id| format!("id:{{{} TO *]", quoted(id))));
            "id asc"
        }
        Order::ByStamp(behind) => {
            filters.extend(behind.map(|(stamp, id)| {
                let id = quoted(id);
                format!(
                    "metadata_modified:{{{stamp} TO *]) OR (metadata_modified:[{stamp} TO {stamp}] AND id:{{{id} TO *]"
                )
            }));
            "metadata_modified asc, id asc"
        }
        Order::Newest => "metadata_modified desc, id desc",
    };
    let filters: Vec<String> = filters.into_iter().map(|filter| format!("(({filter}))")).collect();
    json!({
        "q": listing.query.unwrap_or("*:*"), "fq": filters.join(" AND "), "sort": sort, "rows": listing.rows,
        "fl": FIELDS, "include_private": true, "include_drafts": true, "facet": false,
    })
}

fn is_behind(order: &Order<'_>, listed: &Listed) -> bool {
    match order {
        Order::ById(Some(id)) => listed.id.as_str() > *id,
        Order::ByStamp(Some(behind)) => (listed.stamp.as_str(), listed.id.as_str()) > *behind,
        Order::ById(None) | Order::ByStamp(None) | Order::Newest => true,
    }
}

/// What is to be said of a portal whose search does not look at `fq`.
pub fn drops_filters(seen: &str) -> Failure {
    Failure::permanent(
        "ckan.incompatible",
        format!(
            "package_search: {seen}: the filter `fq` does not arrive, so changes cannot be found. A proxy in front of \
             CKAN may drop it, or an extension rewrite it: let `fq` pass for the host's user, or name CKAN's own address"
        ),
    )
}

/// A text as one word of the search's language.
fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

fn listed(row: &Value) -> Result<Listed, Failure> {
    let text = |field: &str| row.get(field).and_then(Value::as_str).filter(|text| !text.is_empty());
    let lacks = |field| answer::incompatible("package_search", &format!("a dataset is listed without `{field}`"));
    let id = text("id").ok_or_else(|| lacks("id"))?.to_owned();
    let stamp = to_millisecond(text("metadata_modified").ok_or_else(|| lacks("metadata_modified"))?);
    let created = to_millisecond(text("metadata_created").unwrap_or_default());
    let look = View::whole().fingerprint(row);
    Ok(Listed { id, stamp, created, look })
}

/// A stamp as the search compares it: what is finer than a millisecond it does not know.
pub fn to_millisecond(stamp: &str) -> String {
    let plain = stamp.trim_end_matches('Z');
    let mut stamp = plain.get(..STAMP_LENGTH).unwrap_or(plain).to_owned();
    if stamp.len() == "2026-01-01T00:00:00".len() {
        stamp.push('.');
    }
    while stamp.len() < STAMP_LENGTH {
        stamp.push('0');
    }
    stamp.push('Z');
    stamp
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: Listing<'_> = Listing { query: None, since: None, until: None, order: Order::ById(None), rows: 10 };

    #[track_caller]
    fn check(listing: &Listing<'_>, fq: &str, sort: &str) {
        let parameters = parameters(listing);
        assert_eq!((parameters["fq"].as_str(), parameters["sort"].as_str()), (Some(fq), Some(sort)));
    }

    #[test]
    fn a_listing_is_asked_for_in_the_words_of_the_search() {
        check(&ALL, "", "id asc");
        check(&Listing { order: Order::ById(Some("a\"b")), ..ALL }, r#"((id:{"a\"b" TO *]))"#, "id asc");
        let (since, until) = (Some("2026-01-01T00:00:00.000Z"), Some("NOW+5MINUTES"));
        let between = "((metadata_modified:[2026-01-01T00:00:00.000Z TO NOW+5MINUTES]))";
        check(&Listing { since, until, order: Order::Newest, ..ALL }, between, "metadata_modified desc, id desc");
        let stamp = "2026-01-02T00:00:00.000Z";
        let behind = format!(
            "{between} AND ((metadata_modified:{{{stamp} TO *]) OR (metadata_modified:[{stamp} TO {stamp}] AND id:{{\"x\" TO *]))"
        );
        let order = Order::ByStamp(Some((stamp, "x")));
        check(&Listing { since, until, order, ..ALL }, &behind, "metadata_modified asc, id asc");
    }

    #[test]
    fn what_was_asked_to_be_left_out_is_not_behind() {
        let stamp = "2026-01-02T00:00:00.000Z";
        let listed = |id: &str| listed(&json!({"id": id, "metadata_modified": stamp})).unwrap();
        for (order, expected) in [
            (Order::ById(None), [true, true]),
            (Order::ById(Some("a")), [false, true]),
            (Order::ByStamp(Some((stamp, "a"))), [false, true]),
            (Order::ByStamp(Some(("2026-01-01T00:00:00.000Z", "c"))), [true, true]),
            (Order::ByStamp(Some(("2026-01-03T00:00:00.000Z", "a"))), [false, false]),
            (Order::Newest, [true, true]),
        ] {
            assert_eq!(["a", "b"].map(|id| is_behind(&order, &listed(id))), expected, "{order:?}");
        }
    }

    #[test]
    fn a_stamp_is_known_to_the_millisecond() {
        for (stamp, expected) in [
            ("2026-11-25T00:18:07.305468Z", "2026-11-25T00:18:07.305Z"),
            ("2026-11-25T00:18:07.305468", "2026-11-25T00:18:07.305Z"),
            ("2026-11-25T00:18:07.3Z", "2026-11-25T00:18:07.300Z"),
            ("2026-11-25T00:18:07Z", "2026-11-25T00:18:07.000Z"),
        ] {
            assert_eq!(to_millisecond(stamp), expected, "{stamp}");
        }
    }

    #[test]
    fn a_dataset_that_is_listed_otherwise_looks_otherwise() {
        let row = json!({"id": "a", "metadata_modified": "2026-01-01T00:00:00Z", "res_url": ["u", "v"]});
        let mut shorter = row.clone();
        shorter["res_url"] = json!(["u"]);
        assert_ne!(listed(&row).unwrap().look, listed(&shorter).unwrap().look);
        assert_eq!(listed(&row).unwrap(), listed(&row.clone()).unwrap());
        assert_eq!(listed(&json!({"id": "a"})).unwrap_err().code, "ckan.incompatible");
    }
}
