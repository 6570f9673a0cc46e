//! Paths in a dataset, as in `resources.*.url`.

use serde_json::Value;

/// A path in a dataset: names, and `*` for each of a list or whatever there is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Path(Vec<String>);

impl Path {
    /// Reads a path as it is written.
    pub fn new(text: &str) -> Self {
        Self(text.split('.').filter(|segment| !segment.is_empty()).map(str::to_owned).collect())
    }

    /// Whether it means this place, or all that it is a part of.
    pub fn covers(&self, place: &[&str]) -> bool {
        self.0.len() <= place.len() && self.0.iter().zip(place).all(|(segment, name)| segment == "*" || segment == name)
    }

    /// Whether it leads to something inside of this place.
    pub fn leads_through(&self, place: &[&str]) -> bool {
        self.0.len() > place.len() && self.0.iter().zip(place).all(|(segment, name)| segment == "*" || segment == name)
    }
}

/// The members of a list in an order that does not depend on how CKAN lists them: by their ids, where they have some.
pub(super) fn in_order(list: &[Value]) -> Vec<&Value> {
    let mut members: Vec<&Value> = list.iter().collect();
    if list.iter().all(|member| member["id"].is_string()) {
        members.sort_by_key(|member| member["id"].as_str());
    }
    members
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_covers_what_it_names_and_all_inside_of_it() {
        let path = Path::new("resources.*.url");
        assert!(path.covers(&["resources", "*", "url"]));
        assert!(path.covers(&["resources", "*", "url", "scheme"]));
        assert!(!path.covers(&["resources", "*", "urls"]) && !path.covers(&["resources", "*"]));
        assert!(path.leads_through(&["resources"]) && path.leads_through(&[]) && !path.leads_through(&["tags"]));
        assert!(Path::new("*").covers(&["notes"]));
    }
}
