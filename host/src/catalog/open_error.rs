//! What the system's loader says, in words that lead to something.

/// What went wrong and what to do, for the text of an error of `dlopen`.
pub fn explain(text: &str) -> (String, String) {
    let text = after_file_name(text);
    if let Some(version) = between(text, "version `GLIBC_", "' not found") {
        return (
            format!("it needs glibc {version}, which this system does not have"),
            "rebuild it on an older base (cargo zigbuild), or upgrade this system".to_owned(),
        );
    }
    if text.contains("static TLS block") {
        return (
            "no room is left for its thread-local memory (cannot allocate memory in static TLS block)".to_owned(),
            "build the allocator in it with `disable_initial_exec_tls` or `local_dynamic_tls`".to_owned(),
        );
    }
    if text.contains("cannot open shared object file")
        && let Some((library, _)) = text.split_once(": cannot open")
    {
        return (
            format!("the library {library}, which it needs, is missing"),
            "install the package that holds it, or build the plugin without it".to_owned(),
        );
    }
    if let Some((_, symbol)) = text.split_once("undefined symbol: ") {
        return (
            format!("the symbol {} is missing", symbol.trim()),
            "rebuild it with all the libraries that it needs linked in".to_owned(),
        );
    }
    if text.contains("failed to map segment") || text.contains("Operation not permitted") {
        return (
            "code may not be run from the directory of temporary files (probably mounted noexec)".to_owned(),
            "set TMPDIR to a directory from which it may".to_owned(),
        );
    }
    (format!("the system says: {text}"), "rebuild it for this system".to_owned())
}

/// The text without the name of the private copy that it begins with.
fn after_file_name(text: &str) -> &str {
    match text.split_once(": ") {
        Some((file, rest)) if file.starts_with('/') => rest,
        _ => text,
    }
}

fn between<'a>(text: &'a str, start: &str, end: &str) -> Option<&'a str> {
    text.split_once(start)?.1.split_once(end).map(|(found, _)| found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: &str) {
        assert_eq!(explain(text).0, expected);
    }

    #[test]
    fn what_the_system_says_is_put_into_plain_words() {
        check(
            "/lib/x86_64-linux-gnu/libc.so.6: version `GLIBC_2.38' not found (required by /tmp/x/libgeo.so)",
            "it needs glibc 2.38, which this system does not have",
        );
        check(
            "libproj.so.25: cannot open shared object file: No such file or directory",
            "the library libproj.so.25, which it needs, is missing",
        );
        check("/tmp/x/libgeo.so: undefined symbol: geo_init", "the symbol geo_init is missing");
        check(
            "/tmp/x/libgeo.so: cannot allocate memory in static TLS block",
            "no room is left for its thread-local memory (cannot allocate memory in static TLS block)",
        );
        check(
            "/tmp/x/libgeo.so: failed to map segment from shared object",
            "code may not be run from the directory of temporary files (probably mounted noexec)",
        );
        check("something else", "the system says: something else");
    }
}
