//! What the operating system says about this process and its host: resident memory, disk, name. Edge.

use std::fs;
use std::net::ToSocketAddrs;
use std::path::Path;

use lake_proto::host::proc_bytes;

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

/// Resident bytes of a process; `None` when it is gone.
pub fn resident_bytes(pid: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    proc_bytes(&status, "VmRSS:")
}

/// The name other hosts reach this one by: the kernel's host name when it resolves here, else the loopback address.
pub fn default_host() -> String {
    let name = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let name = name.trim();
    let resolves = !name.is_empty() && (name, 0).to_socket_addrs().is_ok_and(|mut found| found.next().is_some());
    if resolves { name.to_owned() } else { "127.0.0.1".to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resident_memory_and_disk_are_found() {
        assert!(resident_bytes(std::process::id()).is_some_and(|bytes| bytes > 0));
        assert!(disk(Path::new("/")).total_bytes > 0);
        assert_eq!(disk(Path::new("/no/such/place")), Disk::default());
    }
}
