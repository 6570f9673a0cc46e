//! Whether a licence is open.

use crate::dataset::Dataset;

/// The ids of licences that conform to the Open Definition, as CKAN and the Open Licenses Service write them, in small
/// letters. They count where CKAN itself does not say whether a licence is open.
const OPEN: &[&str] = &[
    "apache-2.0",
    "cc-by",
    "cc-by-3.0",
    "cc-by-4.0",
    "cc-by-sa",
    "cc-by-sa-3.0",
    "cc-by-sa-4.0",
    "cc-zero",
    "cc0-1.0",
    "dl-de-by-2.0",
    "dl-de-zero-2.0",
    "fal-1.3",
    "gfdl",
    "gfdl-1.3-no-cover-texts-no-invariant-sections",
    "licence-ouverte-2.0",
    "lov2",
    "mit",
    "odc-by",
    "odc-by-1.0",
    "odc-odbl",
    "odbl-1.0",
    "odc-pddl",
    "ogl-canada-2.0",
    "ogl-uk-1.0",
    "ogl-uk-2.0",
    "ogl-uk-3.0",
    "other-at",
    "other-open",
    "other-pd",
    "pddl-1.0",
    "uk-ogl",
];

/// The licences that the operator calls open, beside those that are.
#[derive(Debug, Default)]
pub struct Licences {
    own: Vec<String>,
}

impl Licences {
    /// Takes the setting `licenses_open`: ids of licences.
    pub fn new(ids: &[String]) -> Self {
        Self { own: ids.iter().map(|id| id.to_lowercase()).collect() }
    }

    /// Whether a dataset's licence is open: the operator's word counts first, then CKAN's, then the list.
    pub fn is_open(&self, dataset: &Dataset) -> bool {
        let id = dataset.license_id.as_deref().unwrap_or_default().trim().to_lowercase();
        self.own.contains(&id) || dataset.isopen.unwrap_or_else(|| OPEN.contains(&id.as_str()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ckan_worker_plugin::{json, serde_json};

    #[track_caller]
    fn check(licence: Option<&str>, isopen: Option<bool>, expected: bool) {
        let dataset = json!({ "id": "d", "license_id": licence, "isopen": isopen });
        let dataset: Dataset = serde_json::from_value(dataset).unwrap();
        let licences = Licences::new(&["our-terms".to_owned()]);
        assert_eq!(licences.is_open(&dataset), expected, "{licence:?} {isopen:?}");
    }

    #[test]
    fn ckan_says_whether_a_licence_is_open() {
        check(Some("cc-by"), Some(true), true);
        check(Some("cc-by"), Some(false), false);
        check(Some("cc-nc"), Some(true), true);
    }

    #[test]
    fn where_ckan_does_not_say_the_list_does() {
        check(Some("CC-BY-4.0"), None, true);
        check(Some("cc-nc"), None, false);
        check(Some("notspecified"), None, false);
        check(None, None, false);
    }

    #[test]
    fn the_operator_may_call_a_licence_open() {
        check(Some("Our-Terms"), Some(false), true);
    }
}
