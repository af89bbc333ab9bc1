//! What the operating system lets this process have. Edge: reads /proc and /sys.

use std::fs;
use std::process;

/// The limits of the control group, of version 2 and of version 1.
const GROUP_LIMITS: [&str; 2] = ["/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"];

/// Memory this process may use: the smaller of the host's and the control group's; `None` when neither is readable.
pub fn memory_bytes() -> Option<u64> {
    let host = fs::read_to_string("/proc/meminfo").ok().and_then(|text| proc_bytes(&text, "MemTotal:"));
    // A group without a limit says `max`, which is not a number.
    let group = GROUP_LIMITS.iter().find_map(|path| fs::read_to_string(path).ok()?.trim().parse::<u64>().ok());
    match (host, group) {
        (Some(host), Some(group)) => Some(host.min(group)),
        (host, group) => host.or(group),
    }
}

/// This process for a person who looks for it: `lake-worker (process 4711) on host 'a'`.
pub fn this_process() -> String {
    let host = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let program = fs::read_to_string("/proc/self/comm").unwrap_or_default();
    let program = if program.trim().is_empty() { "this program" } else { program.trim() };
    let host = if host.trim().is_empty() { "localhost" } else { host.trim() };
    format!("{program} (process {}) on host '{host}'", process::id())
}

/// The bytes in the line `<key> <n> kB` of a file of /proc.
pub fn proc_bytes(text: &str, key: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(key))?;
    let kibibytes: u64 = line.split_whitespace().next()?.parse().ok()?;
    kibibytes.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_named_with_its_host() {
        let text = this_process();
        assert!(text.contains(&format!("(process {}) on host '", process::id())), "{text}");
        assert!(!text.contains('\n') && !text.contains("''"), "{text}");
    }

    #[test]
    fn lines_of_proc_are_read_in_bytes() {
        let text = "MemTotal:       16384 kB\nMemFree: 1 kB\n";
        assert_eq!(proc_bytes(text, "MemTotal:"), Some(16_777_216));
        assert_eq!(proc_bytes(text, "MemFree:"), Some(1024));
        assert_eq!(proc_bytes("nothing", "MemTotal:"), None);
        assert!(memory_bytes().is_some_and(|bytes| bytes > 0));
    }
}
