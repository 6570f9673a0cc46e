//! Takes settings from environment variables, named as the CKAN extension ckanext-envvars names them.

use std::collections::BTreeMap;

use super::layer::{Layer, Setting, Unknown};
use super::origin::{Origin, Target};
use crate::diagnostic::Findings;

/// The settings in `variables`. Unknown ones are ignored: CKAN's own live beside them.
pub fn layer(variables: &BTreeMap<String, String>, rank: usize, findings: &mut Findings) -> Layer {
    let mut layer = Layer::default();
    for (variable, value) in variables {
        let Some((target, key)) = setting_name(variable) else { continue };
        let words = format!("the environment variable {variable}");
        let origin = Origin::new(rank, words, &key, value);
        layer.add(Setting { target, key, text: value.clone(), origin }, Unknown::Ignore, findings);
    }
    layer
}

/// The setting that a variable names: `CKAN__SITE_ID` is `ckan.site_id`, `CKAN___QUEUE__NAME` is `queue.name`, and
/// `CKAN___WORKER__ARCHIVE__DIR` is `dir` in `[worker:archive]`.
fn setting_name(variable: &str) -> Option<(Target, String)> {
    match variable {
        "CKAN_WORKER_AMQP_URL" => return Some((Target::Host, "amqp.url".to_owned())),
        "CKAN_WORKER_API_KEY_FILE" => return Some((Target::Host, "ckan.api_key_file".to_owned())),
        _ => {}
    }
    if let Some(rest) = variable.strip_prefix("CKAN___") {
        let name = rest.to_lowercase().replace("__", ".");
        let worker = name.strip_prefix("worker.").and_then(|rest| rest.split_once('.'));
        return Some(match worker {
            Some((worker, key)) => (Target::Worker(worker.to_owned()), key.to_owned()),
            None => (Target::Host, name),
        });
    }
    let rest = variable.strip_prefix("CKAN__")?;
    Some((Target::Host, format!("ckan.{}", rest.to_lowercase().replace("__", "."))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_are_named_as_ckan_operators_know_it() {
        for (variable, expected) in [
            ("CKAN__SITE_ID", Some("worker ckan.site_id")),
            ("CKAN___QUEUE__NAME", Some("worker queue.name")),
            ("CKAN___CONCURRENCY", Some("worker concurrency")),
            ("CKAN___WORKER__ARCHIVE__DIR", Some("worker:archive dir")),
            ("CKAN_WORKER_AMQP_URL", Some("worker amqp.url")),
            ("CKAN_INI", None),
            ("PATH", None),
        ] {
            let name = setting_name(variable).map(|(target, key)| format!("{target} {key}"));
            assert_eq!(name.as_deref(), expected, "{variable}");
        }
    }
}
