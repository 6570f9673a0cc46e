//! What the portal's actions do: plain functions of what is stored and what was asked.

use serde_json::{Map, Value, json};

use super::announce::{self, Notice};
use super::dataset::{Dataset, Datasets, complete_resources, resources, text};
use super::envelope::{Refusal, Success};
use super::{revise, validate};

/// Whether the portal lets an action be called with GET: it does if the action changes nothing.
pub(super) fn is_read(action: &str) -> bool {
    matches!(action, "status_show" | "user_show" | "package_show" | "resource_show" | "package_search" | "package_list")
}

/// What is stored, and what is to be said of its changes.
#[derive(Debug)]
pub(super) struct Store {
    site_url: String,
    datasets: Datasets,
    /// What was committed and not yet announced.
    pub(super) notices: Vec<Notice>,
}

/// What was asked, and by whom.
#[derive(Debug, Clone, Copy)]
pub(super) struct Request<'a> {
    pub(super) action: &'a str,
    pub(super) params: &'a Map<String, Value>,
    /// The user that the token belongs to.
    pub(super) user: Option<&'a str>,
}

impl Request<'_> {
    fn param(&self, name: &str) -> Option<&str> {
        self.params.get(name).and_then(Value::as_str)
    }

    /// The parameter that every action on one thing needs.
    pub(super) fn id(&self) -> Result<&str, Refusal> {
        self.param("id").ok_or_else(|| Refusal::Invalid(json!({"id": ["Missing value"]})))
    }

    /// A number that a GET sends as text.
    fn number(&self, name: &str, default: usize) -> usize {
        let value = self.params.get(name);
        let number = value.and_then(|value| value.as_u64().or_else(|| value.as_str()?.parse().ok()));
        number.and_then(|number| usize::try_from(number).ok()).unwrap_or(default)
    }

    fn denied(&self) -> Refusal {
        let user = self.user.unwrap_or_default();
        Refusal::Denied(format!("Access denied: User {user} not authorized to {}", self.action.replace('_', " ")))
    }
}

impl Store {
    pub(super) fn new(site_url: String, mut datasets: Datasets) -> Self {
        datasets.packages.iter_mut().for_each(complete_resources);
        Self { site_url, datasets, notices: Vec::new() }
    }

    /// The user a token belongs to.
    pub(super) fn user_of(&self, token: &str) -> Option<&str> {
        self.datasets.users.iter().find(|user| user.token == token).map(|user| user.name.as_str())
    }

    /// Does one action.
    pub(super) fn act(&mut self, request: Request<'_>) -> Result<Success, Refusal> {
        match request.action {
            "status_show" => Ok(Success::read(self.status())),
            "user_show" => self.user_show(request),
            "package_show" => Ok(Success::read(Value::Object(self.read(request, request.id()?)?.clone()))),
            "resource_show" => self.resource_show(request),
            "package_list" => Ok(Success::read(self.listed().map(|package| package["name"].clone()).collect())),
            "package_search" => Ok(Success::read(self.search(request))),
            "package_revise" => self.package_revise(request),
            "package_patch" => self.package_patch(request),
            "resource_patch" => self.resource_patch(request),
            unknown => Err(Refusal::Bad(format!("Bad request: Action name not known: {unknown}"))),
        }
    }

    /// A dataset by id or name.
    pub(super) fn find(&self, id: &str) -> Option<&Map<String, Value>> {
        self.datasets.packages.iter().find(|package| text(package, "id") == id || text(package, "name") == id)
    }

    /// Every dataset, the hidden ones too.
    pub(super) fn packages(&self) -> &[Map<String, Value>] {
        &self.datasets.packages
    }

    /// A resource by id.
    pub(super) fn find_resource(&self, id: &str) -> Option<&Map<String, Value>> {
        self.packages().iter().flat_map(resources).find(|resource| text(resource, "id") == id)
    }

    /// Adds a dataset as `package_create` would.
    pub(super) fn create(&mut self, mut dataset: Dataset) {
        complete_resources(&mut dataset.fields);
        self.notices.extend(announce::created(&dataset.fields, &self.site_url));
        self.datasets.packages.push(dataset.fields);
    }

    /// Stores `after` if it is valid and says something new; whether it did. All or nothing.
    pub(super) fn commit(&mut self, mut after: Map<String, Value>) -> Result<bool, Refusal> {
        validate::normalize(&mut after)?;
        let stored = self.datasets.packages.iter_mut().find(|package| package["id"] == after["id"]);
        let stored = stored.ok_or_else(|| Refusal::NotFound("Not found".into()))?;
        if *stored == after {
            return Ok(false);
        }
        validate::stamp(stored, &mut after);
        self.notices.extend(announce::changed(stored, &after, &self.site_url));
        *stored = after;
        Ok(true)
    }

    fn status(&self) -> Value {
        json!({
            "ckan_version": "2.12.0", "site_url": self.site_url, "site_title": "Sample portal", "locale_default": "en",
            "site_description": "", "error_emails_to": null, "extensions": [],
        })
    }

    fn user_show(&self, request: Request<'_>) -> Result<Success, Refusal> {
        let asked = request.param("id").or(request.user);
        let user = self.datasets.users.iter().find(|user| Some(user.name.as_str()) == asked);
        let user = user.ok_or_else(|| Refusal::NotFound("Not found".into()))?;
        let shown = json!({"id": user.name, "name": user.name, "display_name": user.name, "state": "active"});
        Ok(Success::read(shown))
    }

    /// A dataset that the asking user may see.
    fn read(&self, request: Request<'_>, id: &str) -> Result<&Map<String, Value>, Refusal> {
        let package = self.find(id).ok_or_else(|| Refusal::NotFound("Not found".into()))?;
        if request.user.is_some() || is_listed(package) { Ok(package) } else { Err(request.denied()) }
    }

    /// A dataset that the asking user may change.
    fn writable(&self, request: Request<'_>, id: &str) -> Result<Map<String, Value>, Refusal> {
        let package = self.find(id).ok_or_else(|| Refusal::NotFound("Not found".into()))?;
        if request.user.is_some() { Ok(package.clone()) } else { Err(request.denied()) }
    }

    /// The resource that is asked for, and the id of its dataset.
    fn resource(&self, request: Request<'_>) -> Result<(&Map<String, Value>, &str), Refusal> {
        let found = self.find_resource(request.id()?);
        let resource = found.ok_or_else(|| Refusal::NotFound("Not found: Resource was not found.".into()))?;
        Ok((resource, text(resource, "package_id")))
    }

    fn resource_show(&self, request: Request<'_>) -> Result<Success, Refusal> {
        let (resource, package_id) = self.resource(request)?;
        self.read(request, package_id)?;
        Ok(Success::read(Value::Object(resource.clone())))
    }

    /// The datasets that everyone may see.
    pub(super) fn listed(&self) -> impl Iterator<Item = &Map<String, Value>> {
        self.packages().iter().filter(|package| is_listed(package))
    }

    fn search(&self, request: Request<'_>) -> Value {
        let wanted = request.param("q").unwrap_or("*:*");
        let matches = |package: &&Map<String, Value>| {
            matches!(wanted, "" | "*:*")
                || text(package, "name").contains(wanted)
                || text(package, "title").contains(wanted)
        };
        let found: Vec<_> = self.listed().filter(matches).collect();
        let page = found.iter().skip(request.number("start", 0)).take(request.number("rows", 10).min(1000));
        json!({
            "count": found.len(), "results": page.collect::<Vec<_>>(), "sort": "score desc, metadata_modified desc",
            "facets": {}, "search_facets": {},
        })
    }

    fn package_revise(&mut self, request: Request<'_>) -> Result<Success, Refusal> {
        let revision = revise::Revision::read(request.params)?;
        let package = self.writable(request, revision.package()?)?;
        let id = text(&package, "id").to_owned();
        let changed = self.commit(revision.apply(package)?)?;
        let stored = self.find(&id).ok_or_else(|| Refusal::NotFound("Not found".into()))?;
        let result = revision.shown(json!({"package": stored}));
        Ok(Success { result, changed: changed.then_some(id) })
    }

    fn package_patch(&mut self, request: Request<'_>) -> Result<Success, Refusal> {
        let mut package = self.writable(request, request.id()?)?;
        let id = text(&package, "id").to_owned();
        package.extend(request.params.clone());
        package.insert("id".into(), id.as_str().into());
        let changed = self.commit(package)?;
        let stored = self.find(&id).cloned().map(Value::Object);
        Ok(Success { result: stored.unwrap_or_default(), changed: changed.then_some(id) })
    }

    fn resource_patch(&mut self, request: Request<'_>) -> Result<Success, Refusal> {
        let (resource, package_id) = self.resource(request)?;
        let (id, package_id) = (text(resource, "id").to_owned(), package_id.to_owned());
        let mut package = Value::Object(self.writable(request, &package_id)?);
        for resource in package["resources"].as_array_mut().into_iter().flatten().filter_map(Value::as_object_mut) {
            if text(resource, "id") == id {
                resource.extend(request.params.clone());
            }
        }
        let Value::Object(package) = package else { return Err(Refusal::NotFound("Not found".into())) };
        let changed = self.commit(package)?;
        let stored = self.find_resource(&id).cloned().map(Value::Object);
        Ok(Success { result: stored.unwrap_or_default(), changed: changed.then_some(package_id) })
    }
}

/// Whether everyone may see a dataset.
fn is_listed(package: &Map<String, Value>) -> bool {
    package["private"] == false && package["state"] == "active"
}
