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

/// What a process has used and holds, as the kernel counts it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ProcessFigures {
    /// User and system time.
    pub cpu: Duration,
    /// Resident memory.
    pub resident_bytes: u64,
    /// Address space.
    pub virtual_bytes: u64,
    /// Open file descriptors.
    pub open_files: u64,
    /// Open file descriptors that it may have.
    pub most_files: u64,
    /// Threads.
    pub threads: u64,
    /// When it started, since 1970.
    pub started: Duration,
}

/// The figures of this process; zeros where the kernel does not say.
pub fn process_figures() -> ProcessFigures {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let open = fs::read_dir("/proc/self/fd").map_or(0, Iterator::count);
    let stat = stat(&read("/proc/self/stat")).unwrap_or_default();
    let status = read("/proc/self/status");
    ProcessFigures {
        cpu: stat.cpu,
        resident_bytes: proc_bytes(&status, "VmRSS:").unwrap_or_default(),
        virtual_bytes: proc_bytes(&status, "VmSize:").unwrap_or_default(),
        // One of them is the directory that is read here.
        open_files: u64::try_from(open).unwrap_or(u64::MAX).saturating_sub(1),
        most_files: open_limit(&read("/proc/self/limits")).unwrap_or_default(),
        threads: stat.threads,
        started: booted(&read("/proc/stat")).unwrap_or_default() + stat.started_after_boot,
    }
}

/// What /proc/<pid>/stat tells.
#[derive(Debug, Default, PartialEq, Eq)]
struct Stat {
    cpu: Duration,
    threads: u64,
    started_after_boot: Duration,
}

fn stat(text: &str) -> Option<Stat> {
    // The name in parentheses may hold anything. Fields are numbered from 1 in the manual; the first after it is the third.
    let fields: Vec<&str> = text.rsplit_once(')')?.1.split_whitespace().collect();
    let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
    // Hundredths of a second whatever the kernel's own clock does: USER_HZ is part of its interface.
    let time = |ticks: u64| Duration::from_millis(ticks.saturating_mul(10));
    Some(Stat {
        cpu: time(field(14)?.saturating_add(field(15)?)),
        threads: field(20)?,
        started_after_boot: time(field(22)?),
    })
}

/// The soft limit in the line `Max open files` of /proc/<pid>/limits.
fn open_limit(text: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    let limit = line.split_whitespace().next()?;
    if limit == "unlimited" { Some(u64::MAX) } else { limit.parse().ok() }
}

/// The line `btime` of /proc/stat.
fn booted(text: &str) -> Option<Duration> {
    let line = text.lines().find_map(|line| line.strip_prefix("btime "))?;
    line.trim().parse().ok().map(Duration::from_secs)
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
    fn the_figures_of_a_process_are_read_whatever_its_name_is() {
        let text = "42 (a) b) S 1 2 3 4 -1 0 10 0 0 0 250 50 0 0 20 0 7 0 12345 99 5 184\n";
        let expected =
            Stat { cpu: Duration::from_secs(3), threads: 7, started_after_boot: Duration::from_millis(123_450) };
        assert_eq!(stat(text), Some(expected));
        assert_eq!(stat("42 (a"), None);
        let limits = "Limit  Soft Limit  Hard Limit  Units\nMax open files   1024    524288    files\n";
        assert_eq!(open_limit(limits), Some(1024));
        assert_eq!(open_limit("Max open files   unlimited  unlimited  files"), Some(u64::MAX));
        assert_eq!(booted("cpu 1 2\nbtime 1700000000\n"), Some(Duration::from_secs(1_700_000_000)));
    }

    #[test]
    fn this_process_has_used_something_and_started_before_now() {
        let figures = process_figures();
        assert!(figures.resident_bytes > 0 && figures.virtual_bytes >= figures.resident_bytes, "{figures:?}");
        assert!(figures.open_files > 2 && figures.most_files >= figures.open_files, "{figures:?}");
        assert!(figures.threads > 0, "{figures:?}");
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
        // The kernel's second of the start is rounded.
        assert!(figures.started > Duration::from_secs(1_000_000_000), "{figures:?}");
        assert!(figures.started < now + Duration::from_secs(2), "{figures:?}");
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
