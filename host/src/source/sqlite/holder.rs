//! Who holds a lease, so that the leases of a process that died can be taken back at once.

use std::fs;
use std::sync::atomic::{AtomicU64, Ordering};

/// A name that no other holder on this machine ever has, in this process or another, and its number in this process.
pub fn next() -> (String, u64) {
    static NUMBER: AtomicU64 = AtomicU64::new(1);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    (format!("{} {number}", this_process()), number)
}

/// A name for this process that no other process on this machine ever has.
fn this_process() -> String {
    let pid = std::process::id();
    match (namespace(), started(pid)) {
        (Some(namespace), Some(started)) => format!("{namespace} {pid} {started}"),
        // Without /proc nobody can tell whether we live: our leases run out by themselves.
        _ => format!("unknown {pid} {:016x}", fastrand::u64(..)),
    }
}

/// Whether the process behind a name is certainly gone.
pub fn is_gone(holder: &str) -> bool {
    let mut words = holder.split(' ');
    let (Some(theirs), Some(pid), Some(since)) = (words.next(), words.next(), words.next()) else { return false };
    let Ok(pid) = pid.parse() else { return false };
    // In another namespace or after another boot, its numbers mean nothing here.
    namespace().is_some_and(|ours| ours == theirs) && started(pid).is_none_or(|started| started != since)
}

/// The boot and the namespace of processes that numbers are to be read in.
fn namespace() -> Option<String> {
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    let space = fs::read_link("/proc/self/ns/pid").ok()?;
    Some(format!("{}/{}", boot.trim(), space.to_str()?))
}

/// When a process began, in clock ticks since the boot; `None` if there is none.
fn started(pid: u32) -> Option<String> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in brackets may hold anything; the fields are counted behind it, and this is the 22nd.
    stat.rsplit_once(')')?.1.split_whitespace().nth(19).map(str::to_owned)
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn this_process_is_there_and_an_earlier_one_with_its_number_is_gone() {
        let me = this_process();
        assert!(!is_gone(&me));
        let (rest, _) = me.rsplit_once(' ').unwrap();
        assert!(is_gone(&format!("{rest} 1")));
        assert!(is_gone(&format!("{rest} 1 7")));
    }

    #[test]
    fn two_holders_in_one_process_are_told_apart() {
        let ((one, _), (other, _)) = (next(), next());
        assert_ne!(one, other);
        assert!(!is_gone(&one) && !is_gone(&other));
    }

    #[test]
    fn of_another_machine_nothing_is_known() {
        assert!(!is_gone("otherboot/pid:[1] 1 1"));
        assert!(!is_gone("unknown 1 abc"));
        assert!(!is_gone(""));
    }
}
