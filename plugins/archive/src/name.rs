//! File names out of strangers' addresses.

const BYTES_MAX: usize = 200;
const EXTENSION_BYTES_MAX: usize = 20;
const OTHERWISE: &str = "resource";

/// Names that mean something to a file system, to a web server, or here.
const RESERVED: [&str; 8] = ["archive.json", "aux", "con", "default", "index", "nul", "prn", "web"];

/// The last part of an address's path as one harmless file name, else `resource`.
pub fn safe_name(url: &str) -> String {
    let path = url.split(['?', '#']).next().unwrap_or_default();
    let path = path.split_once("://").map_or(path, |(_, rest)| rest.split_once('/').map_or("", |(_, path)| path));
    let last = decoded(path.rsplit('/').next().unwrap_or_default());
    let name = shortened(tame(&last).trim_matches(['.', '-', '_']));
    if name.is_empty() || is_reserved(&name) { OTHERWISE.to_owned() } else { name }
}

/// Undoes the `%41` of addresses, once; what is no text is replaced.
fn decoded(part: &str) -> String {
    let bytes = part.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut index = 0;
    while index < bytes.len() {
        let code = (bytes[index] == b'%').then(|| part.get(index + 1..index + 3)).flatten();
        let byte = code.and_then(|code| u8::from_str_radix(code, 16).ok());
        decoded.push(byte.unwrap_or(bytes[index]));
        index += if byte.is_some() { 3 } else { 1 };
    }
    String::from_utf8_lossy(&decoded).into_owned()
}

/// Puts `_` for everything but ASCII letters, digits, `.`, `-` and `_`: nothing is left to fool eyes or programs.
fn tame(name: &str) -> String {
    let mut tame = String::with_capacity(name.len());
    for letter in name.chars() {
        let keep = letter.is_ascii_alphanumeric() || ".-_".contains(letter);
        if keep || !tame.ends_with('_') {
            tame.push(if keep { letter } else { '_' });
        }
    }
    tame
}

/// Cuts the stem rather than the extension. The name is ASCII.
fn shortened(name: &str) -> String {
    if name.len() <= BYTES_MAX {
        return name.to_owned();
    }
    let extension = name.rfind('.').map(|dot| &name[dot..]).filter(|end| end.len() <= EXTENSION_BYTES_MAX);
    let extension = extension.unwrap_or_default();
    format!("{}{extension}", &name[..BYTES_MAX - extension.len()])
}

fn is_reserved(name: &str) -> bool {
    let lower = name.to_ascii_lowercase();
    let stem = lower.split('.').next().unwrap_or_default();
    let port = stem.strip_prefix("com").or_else(|| stem.strip_prefix("lpt"));
    let is_port = port.is_some_and(|number| number.len() == 1 && number.as_bytes()[0].is_ascii_digit());
    is_port || RESERVED.contains(&lower.as_str()) || RESERVED.contains(&stem)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(url: &str, expected: &str) {
        assert_eq!(safe_name(url), expected, "{url}");
    }

    #[test]
    fn an_ordinary_name_stays() {
        check("http://h/data/trees-2020_v1.csv", "trees-2020_v1.csv");
        check("http://h/a/trees.csv?x=/etc/passwd#f", "trees.csv");
        check("http://h/my%20trees.csv", "my_trees.csv");
        check("http://h/B%C3%A4ume.csv", "B_ume.csv");
    }

    #[test]
    fn an_address_without_a_name_gives_resource() {
        for url in ["", "http://h", "http://h/", "http://h/a/", "http://h?x=a.csv", "not an address/"] {
            check(url, "resource");
        }
    }

    #[test]
    fn no_name_leaves_its_directory_or_hides_in_it() {
        check("http://h/..", "resource");
        check("http://h/.", "resource");
        check("http://h/%2e%2e%2f", "resource");
        check("http://h/%2e%2e%2f%2e%2e%2fetc%2fpasswd", "etc_passwd");
        check("http://h/..%5c..%5cwin.ini", "win.ini");
        check("http://h/..\\x", "x");
        check("http://h/a%00.csv", "a_.csv");
        check("http://h/.htaccess", "htaccess");
        check("http://h/-rf", "rf");
        check("http://h/a.csv.", "a.csv");
        check("http://h/a.csv%20", "a.csv");
        check("http://h/%E2%80%AEfdp.exe", "fdp.exe");
        check("http://h/%D0%B0%D0%B1", "resource");
        check("http://h/%252e%252e%252f", "2e_2e_2f");
        check("http://h/%zz%", "zz");
    }

    #[test]
    fn a_name_that_means_something_elsewhere_is_not_taken() {
        for name in ["index.html", "INDEX.php", "archive.json", "CON", "nul.csv", "com1.txt", "lpt9", "web.config"] {
            check(&format!("http://h/{name}"), "resource");
        }
        check("http://h/console.csv", "console.csv");
        check("http://h/archive.zip", "archive.zip");
    }

    #[test]
    fn a_long_name_is_cut_and_keeps_its_extension() {
        let name = safe_name(&format!("http://h/{}.csv", "x".repeat(300)));
        assert_eq!(name.len(), 200);
        assert!(name.ends_with("xx.csv"), "{name}");
        assert_eq!(safe_name(&format!("http://h/a.{}", "x".repeat(300))).len(), 200);
    }
}
