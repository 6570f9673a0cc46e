//! Who else could change a plugin: whoever can runs code as the worker.
//!
//! The rule: a plugin file and the directory it stands in belong to root or to the user that the worker runs as, and
//! nobody else may write to them. A group counts as nobody else if the owner is alone in it, as with the private groups
//! that Debian and Ubuntu give every user. A symbolic link is followed; the rule then holds for the file it leads to
//! and the directory that file stands in, so a link may point from one trusted place to another and nowhere else. The
//! directories above are not looked at: who exchanges the whole directory cannot give the new one away to root or to us.

use std::fs::Metadata;
use std::path::Path;

use super::refusal::Refusal;

/// Refuses a directory that others may write to.
///
/// # Errors
/// [`Refusal::InsecureDirectory`].
pub fn check_directory(dir: &Path, metadata: &Metadata) -> Result<(), Refusal> {
    who_else(metadata).map_or(Ok(()), |problem| {
        Err(Refusal::InsecureDirectory { dir: dir.to_owned(), problem: problem.what, remedy: problem.remedy })
    })
}

/// Refuses a file that others may write to, or that is no regular file.
///
/// # Errors
/// [`Refusal::InsecureFile`] or [`Refusal::Unreadable`].
pub fn check_file(path: &Path, metadata: &Metadata) -> Result<(), Refusal> {
    if !metadata.is_file() {
        return Err(Refusal::Unreadable { path: path.to_owned(), problem: "is not a regular file".to_owned() });
    }
    who_else(metadata).map_or(Ok(()), |problem| {
        Err(Refusal::InsecureFile { path: path.to_owned(), problem: problem.what, remedy: problem.remedy })
    })
}

struct Problem {
    what: String,
    remedy: &'static str,
}

#[cfg(unix)]
fn who_else(metadata: &Metadata) -> Option<Problem> {
    use std::os::unix::fs::MetadataExt;

    let us = rustix::process::geteuid().as_raw();
    judge(us, metadata.uid(), metadata.gid(), metadata.mode() & 0o7777, alone_in_group)
}

/// Decides for a file of `owner` and `group`, looked at by the user `us`.
#[cfg(unix)]
fn judge(us: u32, owner: u32, group: u32, mode: u32, alone: impl Fn(u32, u32) -> bool) -> Option<Problem> {
    if owner != 0 && owner != us {
        let what = format!("belongs to user {owner}, neither root nor the worker's user {us}");
        return Some(Problem { what, remedy: "chown it" });
    }
    if mode & 0o002 != 0 {
        return Some(Problem { what: format!("writable by everybody (mode {mode:04o})"), remedy: "chmod go-w" });
    }
    if mode & 0o020 != 0 && !alone(owner, group) {
        return Some(Problem { what: format!("writable by group {group} (mode {mode:04o})"), remedy: "chmod g-w" });
    }
    None
}

/// Elsewhere the permissions of files are not looked at.
#[cfg(not(unix))]
fn who_else(_: &Metadata) -> Option<Problem> {
    None
}

#[cfg(unix)]
fn alone_in_group(user: u32, group: u32) -> bool {
    let read = |path| std::fs::read_to_string(path).unwrap_or_default();
    is_private_group(user, group, &read("/etc/passwd"), &read("/etc/group"))
}

/// Whether `passwd` and `groups`, the texts of those files, say that nobody but `user` is in `group`. What they do not
/// mention at all, as with users from a directory service, counts as shared.
#[cfg(unix)]
fn is_private_group(user: u32, group: u32, passwd: &str, groups: &str) -> bool {
    let number = |field: Option<&str>| field.and_then(|text| text.parse::<u32>().ok());
    let mut name = None;
    for line in passwd.lines() {
        let fields: Vec<&str> = line.split(':').collect();
        if number(fields.get(2).copied()) == Some(user) {
            name = fields.first().copied();
        } else if number(fields.get(3).copied()) == Some(group) {
            return false;
        }
    }
    let Some(name) = name else { return false };
    let mut known = false;
    for line in groups.lines() {
        let fields: Vec<&str> = line.split(':').collect();
        if number(fields.get(2).copied()) == Some(group) {
            known = true;
            let members = fields.get(3).copied().unwrap_or_default();
            if members.split(',').any(|member| !member.is_empty() && member != name) {
                return false;
            }
        }
    }
    known
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\nann:x:1000:1000::/home/ann:\nbob:x:1001:50::/home/bob:\n";

    #[track_caller]
    fn check(user: u32, group: u32, groups: &str, expected: bool) {
        assert_eq!(is_private_group(user, group, PASSWD, groups), expected);
    }

    #[test]
    fn only_root_and_the_workers_user_may_own_what_is_loaded_and_only_they_may_write_to_it() {
        let problem = |owner, mode, alone| judge(1000, owner, 50, mode, |_, _| alone).map(|problem| problem.what);
        assert_eq!(problem(1000, 0o755, false), None);
        assert_eq!(problem(0, 0o755, false), None);
        assert_eq!(problem(1000, 0o775, true), None);
        assert_eq!(problem(1000, 0o775, false).unwrap(), "writable by group 50 (mode 0775)");
        assert_eq!(problem(1000, 0o757, true).unwrap(), "writable by everybody (mode 0757)");
        assert_eq!(
            problem(1001, 0o755, true).unwrap(),
            "belongs to user 1001, neither root nor the worker's user 1000"
        );
    }

    #[test]
    fn a_group_is_private_if_its_owner_is_alone_in_it() {
        check(1000, 1000, "ann:x:1000:\n", true);
        check(1000, 1000, "ann:x:1000:ann\n", true);
        check(1000, 1000, "ann:x:1000:bob\n", false);
        check(1000, 50, "staff:x:50:\n", false);
        check(1000, 1000, "", false);
        check(4711, 1000, "ann:x:1000:\n", false);
    }
}
