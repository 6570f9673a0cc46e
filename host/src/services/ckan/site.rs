//! The portal's addresses: where it is called, which links are its own, and which of them may see the token.

use url::{Origin, Url};

use super::request::actions_url;
use super::settings::{Rewrite, Settings, SetupError};

/// Where the portal is, from outside and from here.
#[derive(Debug)]
pub(super) struct Site {
    /// Ends in `/api/3/action/`; `None` if no portal is set.
    pub(super) actions: Option<Url>,
    /// The portal's own, public and internal: all that the token may go to.
    origins: Vec<Origin>,
    rewrites: Vec<Rewrite>,
}

impl Site {
    /// Puts the settings together.
    ///
    /// # Errors
    /// The site's address is not one of a portal.
    pub(super) fn new(settings: &Settings) -> Result<Self, SetupError> {
        let rewrites = settings.url_rewrite.clone();
        let Some(site) = &settings.site_url else { return Ok(Self { actions: None, origins: Vec::new(), rewrites }) };
        let public = actions_url(site, settings.root_path.as_deref())?;
        let actions = internal(&rewrites, &public).unwrap_or_else(|| public.clone());
        let mut origins = vec![public.origin(), actions.origin()];
        // A portal may have several public names; what leads elsewhere, as to a file store, is not the portal.
        let aliases = rewrites.iter().filter(|rewrite| rewrite.internal.origin() == actions.origin());
        origins.extend(aliases.map(|rewrite| rewrite.public.origin()));
        Ok(Self { actions: Some(actions), origins, rewrites })
    }

    /// Where a public address is reached from here; `None` if it is reached as it is.
    pub(super) fn internal(&self, url: &Url) -> Option<Url> {
        internal(&self.rewrites, url)
    }

    /// Whether an address is the portal's own, by scheme, host and port.
    pub(super) fn owns(&self, url: &Url) -> bool {
        let is_plain = url.username().is_empty() && url.password().is_none();
        is_plain && self.origins.contains(&url.origin())
    }
}

fn internal(rewrites: &[Rewrite], url: &Url) -> Option<Url> {
    rewrites.iter().find_map(|rewrite| rewrite.apply(url))
}

/// The id of the resource whose uploaded file this is the address of: `…/resource/ID/download/NAME`.
///
/// Everything else at the portal would be shown with the token's rights to whoever typed the address.
pub(super) fn upload(url: &Url) -> Option<&str> {
    let path = url.path();
    // What a server behind the next may decode, and walk out of the path with.
    let lower = path.to_ascii_lowercase();
    if ["%2f", "%5c", "%2e", "%00", "//"].iter().any(|hidden| lower.contains(hidden)) {
        return None;
    }
    let parts: Vec<&str> = path.trim_matches('/').split('/').collect();
    if parts.contains(&"api") {
        return None;
    }
    match parts[..] {
        [.., _, _, "resource", id, "download"] | [.., _, _, "resource", id, "download", _] => Some(id),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn site(site_url: &str, rules: &[&str]) -> Site {
        let url_rewrite = rules.iter().map(|rule| Rewrite::parse(rule).unwrap()).collect();
        let site_url = Some(site_url.parse().unwrap());
        Site::new(&Settings { site_url, url_rewrite, ..Settings::default() }).unwrap()
    }

    #[test]
    fn calls_go_to_the_internal_address() {
        let site = site("https://data.example", &["https://data.example=http://127.0.0.1:5000"]);
        assert_eq!(site.actions.unwrap().as_str(), "http://127.0.0.1:5000/api/3/action/");
    }

    #[test]
    fn the_portals_own_are_its_names_and_no_other() {
        let rules = [
            "https://data.example=http://127.0.0.1:5000",
            "https://www.data.example=http://127.0.0.1:5000",
            "https://files.example=http://127.0.0.1:9000",
        ];
        let site = site("https://data.example", &rules);
        let check = |url: &str, expected: bool| assert_eq!(site.owns(&url.parse().unwrap()), expected, "{url}");
        check("https://data.example/x", true);
        check("https://DATA.example:443/x", true);
        check("https://www.data.example/x", true);
        check("http://127.0.0.1:5000/x", true);
        check("http://data.example/x", false);
        check("https://data.example:8443/x", false);
        check("https://files.example/x", false);
        check("http://127.0.0.1:9000/x", false);
        check("https://data.example.evil.example/x", false);
        check("https://data.example@evil.example/x", false);
        check("https://me:secret@data.example/x", false);
        check("https://sub.data.example/x", false);
    }

    #[test]
    fn only_uploaded_files_are_opened_with_the_token() {
        let check = |path: &str, expected: bool| {
            let url: Url = format!("https://data.example{path}").parse().unwrap();
            assert_eq!(upload(&url).is_some(), expected, "{path}");
        };
        check("/dataset/d1/resource/r1/download/a.csv", true);
        check("/dataset/d1/resource/r1/download", true);
        check("/data/de/dataset/d1/resource/r1/download/a%20b.csv", true);
        check("/harvest/d1/resource/r1/download/a.csv", true);
        check("/dataset/d1/resource/r1", false);
        check("/api/3/action/user_list", false);
        check("/api/3/action/resource/r1/download/x", false);
        check("/dataset/d1/resource/r1/download/../../../../../api/3/action/user_list", false);
        check("/dataset/d1/resource/r1/download/..%2f..%2f..%2fapi", false);
        check("/dataset/d1/resource/r1/download/a/b", false);
        check("/", false);
    }
}
