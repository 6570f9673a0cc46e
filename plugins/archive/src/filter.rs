//! What is left out: by organization, group, tag, format and host.

use crate::dataset::{Dataset, Resource};

/// What is left out.
#[derive(Debug, Default)]
pub struct Filter {
    /// By the name or id of the organization.
    pub organizations: Names,
    /// By the name or id of a group.
    pub groups: Names,
    /// By a tag.
    pub tags: Names,
    /// By the declared format.
    pub formats: Names,
    /// By the host in the address, and what lies below it.
    pub hosts: Names,
}

/// The names that alone are wanted, if any, and those that are not.
#[derive(Debug, Default)]
pub struct Names {
    only: Vec<String>,
    not: Vec<String>,
}

impl Names {
    /// In small letters, and formats without the dot of an extension.
    pub fn new(only: Vec<String>, not: Vec<String>) -> Self {
        let plain = |names: Vec<String>| names.iter().map(|name| plain(name)).collect();
        Self { only: plain(only), not: plain(not) }
    }

    /// Whether something with these names is left out.
    fn refuses(&self, names: &[&str], fits: impl Fn(&str, &str) -> bool) -> bool {
        let is_among = |list: &[String]| list.iter().any(|listed| names.iter().any(|name| fits(listed, &plain(name))));
        is_among(&self.not) || (!self.only.is_empty() && !is_among(&self.only))
    }
}

impl Filter {
    /// Why all of a dataset is left out; `None` if it is not.
    pub fn refuses_dataset(&self, dataset: &Dataset) -> Option<String> {
        let organization = dataset.organization();
        if self.organizations.refuses(&organization, equal) {
            return Some(left_out("organization", organization.first().copied()));
        }
        let groups: Vec<&str> = dataset.groups().collect();
        if self.groups.refuses(&groups, equal) {
            return Some(left_out("groups", groups.first().copied()));
        }
        let tags: Vec<&str> = dataset.tags().collect();
        self.tags.refuses(&tags, equal).then(|| left_out("tags", tags.first().copied()))
    }

    /// Why one of its resources is left out; `None` if it is not.
    pub fn refuses(&self, resource: &Resource) -> Option<String> {
        let format = resource.declared();
        if self.formats.refuses(&[format], equal) {
            return Some(left_out("format", Some(format)));
        }
        let url = url::Url::parse(resource.url()).ok();
        let host = url.as_ref().and_then(url::Url::host_str);
        let hosts: Vec<&str> = host.into_iter().collect();
        self.hosts.refuses(&hosts, is_below).then(|| left_out("host", host))
    }
}

fn equal(listed: &str, name: &str) -> bool {
    listed == name
}

/// Whether a host is the listed one or below it.
fn is_below(listed: &str, host: &str) -> bool {
    let front = host.strip_suffix(listed);
    front.is_some_and(|front| front.is_empty() || front.ends_with('.'))
}

fn plain(name: &str) -> String {
    name.trim().trim_start_matches('.').trim_end_matches('.').to_lowercase()
}

fn left_out(what: &str, name: Option<&str>) -> String {
    match name.map(ckan_worker_plugin::one_line).filter(|name| !name.is_empty()) {
        Some(name) => format!("left out by the settings: {what} {name}"),
        None => format!("left out by the settings: no {what}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ckan_worker_plugin::{json, serde_json};

    fn names(only: &[&str], not: &[&str]) -> Names {
        let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        Names::new(owned(only), owned(not))
    }

    fn dataset() -> Dataset {
        serde_json::from_value(json!({
            "id": "p1", "owner_org": "o-1", "organization": { "id": "o-1", "name": "City" },
            "groups": [{ "name": "nature", "id": "g-1" }], "tags": [{ "name": "Oak" }],
            "resources": [{ "id": "r1", "url": "https://files.data.example:8443/a.csv", "format": ".CSV" }],
        }))
        .unwrap()
    }

    #[track_caller]
    fn check(filter: &Filter, expected: Option<&str>) {
        let dataset = dataset();
        let refusal = filter.refuses_dataset(&dataset);
        let refusal = refusal.or_else(|| filter.refuses(dataset.resources().next().unwrap()));
        assert_eq!(refusal.as_deref(), expected, "{filter:?}");
    }

    #[test]
    fn without_settings_nothing_is_left_out() {
        check(&Filter::default(), None);
    }

    #[test]
    fn each_property_can_be_asked_for_and_left_out() {
        let filter = Filter::default;
        let org = |only: &[&str], not: &[&str]| Filter { organizations: names(only, not), ..filter() };
        check(&org(&["CITY", "x"], &[]), None);
        check(&org(&["o-1"], &[]), None);
        check(&org(&["x"], &[]), Some("left out by the settings: organization City"));
        check(&org(&["city"], &["city"]), Some("left out by the settings: organization City"));
        check(&Filter { groups: names(&[], &["nature"]), ..filter() }, Some("left out by the settings: groups nature"));
        check(&Filter { tags: names(&["oak"], &[]), ..filter() }, None);
        check(&Filter { tags: names(&["elm"], &[]), ..filter() }, Some("left out by the settings: tags Oak"));
        check(&Filter { formats: names(&["csv"], &[]), ..filter() }, None);
        check(&Filter { formats: names(&[], &["csv"]), ..filter() }, Some("left out by the settings: format .CSV"));
    }

    #[test]
    fn a_host_stands_for_all_below_it_and_for_no_other() {
        let hosts = |only: &[&str]| Filter { hosts: names(only, &[]), ..Filter::default() };
        for host in ["data.example", "files.data.example", "Example", ".data.example"] {
            check(&hosts(&[host]), None);
        }
        for host in ["ata.example", "other.files.data.example", "a.example"] {
            check(&hosts(&[host]), Some("left out by the settings: host files.data.example"));
        }
    }

    #[test]
    fn what_has_none_is_not_among_those_asked_for() {
        let bare: Dataset = serde_json::from_value(json!({ "id": "p1" })).unwrap();
        let filter = Filter { groups: names(&["nature"], &[]), ..Filter::default() };
        assert_eq!(filter.refuses_dataset(&bare).as_deref(), Some("left out by the settings: no groups"));
    }
}
