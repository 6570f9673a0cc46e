//! What a process has used so far, as the system counts it.

use std::fs;

/// What this process has used so far.
#[derive(Debug, Clone, Copy)]
pub struct Usage {
    /// User and system time, in microseconds; counted in ticks of a hundredth of a second.
    pub cpu_us: u64,
    /// The most memory it ever held at once, in bytes.
    pub rss_max_bytes: u64,
}

impl Usage {
    /// Reads it from `/proc`; 0 where there is none.
    pub fn of_this_process() -> Self {
        Self { cpu_us: cpu_us("self").unwrap_or(0), rss_max_bytes: rss_max_bytes("self").unwrap_or(0) }
    }

    /// The same of another process; `None` if it does not run, or there is no `/proc`.
    pub fn of(pid: u32) -> Option<Self> {
        let process = pid.to_string();
        Some(Self { cpu_us: cpu_us(&process)?, rss_max_bytes: rss_max_bytes(&process)? })
    }
}

/// User and system time of the children of this process that have ended and were waited for, in microseconds; counted
/// in ticks of a hundredth of a second, 0 where there is no `/proc`.
pub fn cpu_us_of_ended_children() -> u64 {
    cpu_us_at("self", 13).unwrap_or(0)
}

fn cpu_us(process: &str) -> Option<u64> {
    cpu_us_at(process, 11)
}

/// Two times that stand one behind the other, added.
fn cpu_us_at(process: &str, place: usize) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    // The name in brackets may hold anything. Counted behind it, user and system time are the 12th and 13th field, and
    // those of ended children the two after them.
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(place);
    let (user, system): (u64, u64) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
    Some((user + system) * 10_000)
}

fn rss_max_bytes(process: &str) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    Some(line.split_whitespace().nth(1)?.parse::<u64>().ok()? * 1024)
}
