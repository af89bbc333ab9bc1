//! What the operating system lets this process have. Edge: reads /proc and /sys.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::process;
use std::time::Duration;

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

/// The time since the host was started, time in which it was suspended included: CLOCK_BOOTTIME, which is what the
/// kernel shows in /proc/uptime, in hundredths of a second. [`std::time::Instant`] stands still in a suspended host.
#[derive(Debug)]
pub struct BootClock {
    /// Open all the time: a process without a file descriptor left must still know the time.
    uptime: File,
}

impl BootClock {
    /// # Errors
    /// When /proc is not there.
    pub fn open() -> io::Result<Self> {
        Ok(Self { uptime: File::open("/proc/uptime")? })
    }

    /// # Errors
    /// When the kernel does not say.
    pub fn now(&self) -> io::Result<Duration> {
        let mut text = [0; 64];
        let length = self.uptime.read_at(&mut text, 0)?;
        let read = text.get(..length).and_then(|text| std::str::from_utf8(text).ok());
        read.and_then(uptime).ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "/proc/uptime has no time"))
    }
}

/// The first of the two numbers in /proc/uptime: seconds and hundredths.
fn uptime(text: &str) -> Option<Duration> {
    let (seconds, hundredths) = text.split_whitespace().next()?.split_once('.')?;
    let hundredths: u64 = hundredths.parse().ok().filter(|_| hundredths.len() == 2)?;
    Some(Duration::from_secs(seconds.parse().ok()?) + Duration::from_millis(hundredths * 10))
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

    #[test]
    fn the_time_since_the_start_of_the_host_is_read_and_does_not_step_back() {
        assert_eq!(uptime("350735.47 234388.90\n"), Some(Duration::from_millis(350_735_470)));
        assert_eq!(uptime("7.05 1.00"), Some(Duration::from_millis(7_050)));
        for text in ["", "7", "7.5 1", "x.10"] {
            assert_eq!(uptime(text), None, "{text:?}");
        }
        let clock = BootClock::open().unwrap();
        let first = clock.now().unwrap();
        assert!(first > Duration::ZERO);
        let (from, patience) = (std::time::Instant::now(), Duration::from_secs(5));
        while clock.now().unwrap() <= first {
            assert!(from.elapsed() < patience, "the clock stands still");
            std::thread::yield_now();
        }
    }
}
