//! Whether the types of a plugin are the types of this worker, compared field by field.

use ckan_worker_abi::abi_stable::abi_stability::abi_checking::{
    AbiInstability, AbiInstabilityError, AbiInstabilityErrors, check_layout_compatibility,
};
use ckan_worker_abi::abi_stable::type_layout::{TLFieldOrFunction, TypeLayout};

/// How the types differ.
#[derive(Debug)]
pub struct Difference {
    /// In a few words, as in `field 'Reply.flags': expected u32, found u64`.
    pub summary: String,
    /// The whole comparison, several screens long.
    pub report: String,
}

/// Compares the layouts, in both directions.
///
/// The check asks whether the second has at least what the first has. A plugin older than the worker has less: it
/// passes with the roles exchanged, and what it lacks then reads as `None`.
///
/// # Errors
/// How they differ, if neither direction passes.
pub fn compare(ours: &'static TypeLayout, theirs: &'static TypeLayout) -> Result<(), Difference> {
    let Err(errors) = check_layout_compatibility(ours, theirs) else { return Ok(()) };
    if check_layout_compatibility(theirs, ours).is_ok() {
        return Ok(());
    }
    Err(Difference { summary: summary(&errors), report: errors.to_string() })
}

/// The most telling difference: of those of the fields the one that stands deepest, for the others follow from it.
fn summary(errors: &AbiInstabilityErrors) -> String {
    let deepest = errors.errors.iter().max_by_key(|error| error.stack_trace.len());
    deepest.and_then(field).unwrap_or_else(|| "the types are built differently".to_owned())
}

fn field(error: &AbiInstabilityError) -> Option<String> {
    let mut fields = error.stack_trace.iter().rev();
    let last = fields.next()?;
    let owner = fields.find_map(|outer| type_name(&outer.expected)).map_or_else(String::new, |name| format!("{name}."));
    let name = match &last.expected {
        TLFieldOrFunction::Field(field) => field.name(),
        TLFieldOrFunction::Function(function) => function.name.as_str(),
    };
    let (expected, found) = (type_name(&last.expected), type_name(&last.found));
    match (expected, found) {
        (Some(expected), Some(found)) if expected != found => {
            Some(format!("field '{owner}{name}': expected {expected}, found {found}"))
        }
        (Some(this), _) => Some(format!("{this}: {}", words(error.errs.first()?))),
        _ => Some(format!("'{owner}{name}': {}", words(error.errs.first()?))),
    }
}

fn type_name(place: &TLFieldOrFunction) -> Option<String> {
    match place {
        TLFieldOrFunction::Field(field) => Some(field.layout().full_type().to_string()),
        TLFieldOrFunction::Function(_) => None,
    }
}

fn words(difference: &AbiInstability) -> String {
    match difference {
        AbiInstability::Size(size) => format!("expected {} bytes, found {}", size.expected, size.found),
        AbiInstability::FieldCountMismatch(count) => {
            format!("expected {} fields, found {}", count.expected, count.found)
        }
        AbiInstability::UnexpectedField(field) => {
            format!("expected field '{}', found '{}'", field.expected.name(), field.found.name())
        }
        AbiInstability::PackageVersion(version) => {
            format!("expected version {}, found {}", version.expected, version.found)
        }
        AbiInstability::Package(package) => format!("expected package {}, found {}", package.expected, package.found),
        AbiInstability::MismatchedPrefixSize(size) => {
            format!("expected {} fields in 1.0, found {}", size.expected, size.found)
        }
        _ => "the types are built differently".to_owned(),
    }
}

#[cfg(test)]
#[expect(unsafe_code, reason = "the promises that are derived for the types of the tests")]
mod tests {
    use ckan_worker_abi::abi_stable::StableAbi;

    use super::*;

    /// The tables of one version: a root, and a second one that it reaches, as `HostVTable` is reached from `create`.
    macro_rules! version {
        ($name:ident, $count:ty $(, $later:ident)?) => {
            #[allow(dead_code, clippy::pedantic, reason = "what is derived; only the layouts are looked at")]
            mod $name {
                use super::*;

                #[repr(C)]
                #[derive(StableAbi)]
                #[sabi(kind(Prefix(prefix_ref = ServicesRef, prefix_fields = ServicesPrefix)))]
                pub struct Services {
                    #[sabi(last_prefix_field)]
                    pub count: extern "C" fn() -> $count,
                    $(pub $later: extern "C" fn() -> u32,)?
                }

                #[repr(C)]
                #[derive(StableAbi)]
                #[sabi(kind(Prefix(prefix_ref = ModuleRef, prefix_fields = ModulePrefix)))]
                pub struct Module {
                    #[sabi(last_prefix_field)]
                    pub create: extern "C" fn(ServicesRef),
                    $(pub $later: extern "C" fn() -> u32,)?
                }
            }
        };
    }

    version!(first, u32);
    version!(second, u32, health);
    version!(lying, u64);

    const FIRST: &TypeLayout = <first::ModuleRef as StableAbi>::LAYOUT;
    const SECOND: &TypeLayout = <second::ModuleRef as StableAbi>::LAYOUT;
    const LYING: &TypeLayout = <lying::ModuleRef as StableAbi>::LAYOUT;

    #[test]
    fn an_older_plugin_fits_a_newer_worker_and_a_newer_plugin_an_older_one() {
        assert!(check_layout_compatibility(SECOND, FIRST).is_err(), "one direction alone is not enough");
        assert!(compare(SECOND, FIRST).is_ok());
        assert!(compare(FIRST, SECOND).is_ok());
        assert!(compare(FIRST, FIRST).is_ok());
    }

    #[test]
    fn another_type_in_a_table_is_found_in_both_directions() {
        for (ours, theirs) in [(FIRST, LYING), (LYING, FIRST), (SECOND, LYING), (LYING, SECOND)] {
            let difference = compare(ours, theirs).unwrap_err();
            assert!(difference.summary.contains("u32") && difference.summary.contains("u64"), "{}", difference.summary);
            assert!(difference.report.lines().count() > 10);
        }
    }
}
