//! What the operating system says about this host and process: memory, disk, name. Edge.

use std::fs;
use std::net::ToSocketAddrs;
use std::path::Path;

/// Bytes free and bytes in total of a file system.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Disk {
    /// What an unprivileged process may still write.
    pub free_bytes: u64,
    /// Size of the file system.
    pub total_bytes: u64,
}

/// The file system under `path`; zeros when it cannot be asked.
pub fn disk(path: &Path) -> Disk {
    rustix::fs::statvfs(path).map_or_else(
        |_| Disk::default(),
        |stat| Disk {
            free_bytes: stat.f_bavail.saturating_mul(stat.f_frsize),
            total_bytes: stat.f_blocks.saturating_mul(stat.f_frsize),
        },
    )
}

/// Memory this process may use: the smaller of the host's and the control group's; `None` when neither is readable.
pub fn memory_bytes() -> Option<u64> {
    let host = fs::read_to_string("/proc/meminfo").ok().and_then(|text| meminfo_total(&text));
    let group = ["/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"]
        .iter()
        .find_map(|path| fs::read_to_string(path).ok()?.trim().parse::<u64>().ok());
    match (host, group) {
        (Some(host), Some(group)) => Some(host.min(group)),
        (host, group) => host.or(group),
    }
}

/// Resident bytes of a process; `None` when it is gone.
pub fn resident_bytes(pid: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    kilobytes_of(&status, "VmRSS:")
}

/// The name other hosts reach this one by: the kernel's host name when it resolves here, else the loopback address.
pub fn default_host() -> String {
    let name = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let name = name.trim();
    let resolves = !name.is_empty() && (name, 0).to_socket_addrs().is_ok_and(|mut found| found.next().is_some());
    if resolves { name.to_owned() } else { "127.0.0.1".to_owned() }
}

fn meminfo_total(text: &str) -> Option<u64> {
    kilobytes_of(text, "MemTotal:")
}

fn kilobytes_of(text: &str, key: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(key))?;
    let kilobytes: u64 = line.split_whitespace().next()?.parse().ok()?;
    kilobytes.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_and_disk_of_this_host_are_found() {
        assert_eq!(meminfo_total("MemTotal:       16384 kB\nMemFree: 1 kB\n"), Some(16_777_216));
        assert_eq!(meminfo_total("nothing"), None);
        assert!(resident_bytes(std::process::id()).is_some_and(|bytes| bytes > 0));
        assert!(disk(Path::new("/")).total_bytes > 0);
        assert_eq!(disk(Path::new("/no/such/place")), Disk::default());
    }
}
