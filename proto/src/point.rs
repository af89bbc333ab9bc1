//! Named points at which a test lets a process stop, die, wait or fail: moments that a signal from outside cannot hit.
//! Edge.
//!
//! They exist where debug assertions do: in the profile in which tests run, on the very programs that they run. A release
//! has neither the points nor a look at the environment. Never here: what the points mean, which only tests know.
//!
//! `LAKE_FAULT_POINTS` lists them: `driver-before-commit=kill,commit-before-put=stop*3`. An action is `stop` (SIGSTOP),
//! `kill` (SIGKILL), `panic`, `sleep-MS`, or `fail`, which only [`fails`] heeds; after `*` stands how often it happens
//! at most over all processes, once when nothing is said, so that a driver that is launched again passes. Every time
//! leaves a file `<point>.<number>` with the process id in `LAKE_FAULT_DIR`: a test shows by it that its fault has
//! happened.

#[cfg(debug_assertions)]
pub use self::armed::{fails, reached};

/// Nothing.
#[cfg(not(debug_assertions))]
pub const fn reached(_: &str) {}

/// Never.
///
/// # Errors
/// None.
#[cfg(not(debug_assertions))]
pub const fn fails(_: &str) -> std::io::Result<()> {
    Ok(())
}

#[cfg(debug_assertions)]
mod armed {
    use std::fs::{self, File};
    use std::io::{Error, Result};
    use std::path::PathBuf;
    use std::sync::OnceLock;
    use std::thread::park_timeout;
    use std::time::{Duration, Instant};

    use rustix::process::{Signal, getpid, kill_process};

    /// Does here what the environment says. Blocks the thread for `sleep-MS`.
    pub fn reached(name: &str) {
        // A point without an error to give has no use for one.
        let _ = fails(name);
    }

    /// As [`reached`], where the next operation can fail.
    ///
    /// # Errors
    /// When the environment says `fail`.
    pub fn fails(name: &str) -> Result<()> {
        static POINTS: OnceLock<Points> = OnceLock::new();
        match POINTS.get_or_init(Points::of_environment).take(name) {
            None => {}
            Some(Action::Fail) => return Err(Error::other(format!("the fault of point {name}"))),
            #[expect(clippy::panic, reason = "it is the fault that was asked for")]
            Some(Action::Panic) => std::panic::panic_any(format!("the fault of point {name}")),
            Some(Action::Signal(signal)) => {
                kill_process(getpid(), signal)?;
                wait_until_taken(signal);
            }
            Some(Action::Sleep(time)) => {
                let end = Instant::now() + time;
                while let Some(left) = end.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()) {
                    park_timeout(left);
                }
            }
        }
        Ok(())
    }

    /// A signal to the process may be taken by another thread: this one would go past its point before it is stopped.
    fn wait_until_taken(signal: Signal) {
        let bit = 1_u64 << (signal.as_raw() - 1);
        while fs::read_to_string("/proc/self/status").is_ok_and(|status| pending(&status) & bit != 0) {
            std::thread::yield_now();
        }
    }

    /// Signals that the process has and no thread has taken.
    fn pending(status: &str) -> u64 {
        let shared = status.lines().find_map(|line| line.strip_prefix("ShdPnd:"));
        shared.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0)
    }

    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    enum Action {
        Signal(Signal),
        Sleep(Duration),
        Panic,
        Fail,
    }

    #[derive(Debug)]
    struct Point {
        name: String,
        action: Action,
        times: u32,
    }

    #[derive(Debug, Default)]
    struct Points {
        list: Vec<Point>,
        directory: PathBuf,
    }

    impl Points {
        fn of_environment() -> Self {
            let Ok(text) = std::env::var("LAKE_FAULT_POINTS") else { return Self::default() };
            let directory = std::env::var_os("LAKE_FAULT_DIR").unwrap_or_default();
            Self::parse(&text, directory.into()).unwrap_or_else(|wrong| {
                // A test with a misspelt fault must not go through without it.
                eprintln!("LAKE_FAULT_POINTS: '{wrong}' is not POINT=stop|kill|panic|fail|sleep-MS[*TIMES]");
                std::process::abort()
            })
        }

        fn parse(text: &str, directory: PathBuf) -> std::result::Result<Self, String> {
            let points = text.split(',').filter(|part| !part.is_empty());
            let list =
                points.map(|part| point(part).ok_or_else(|| part.to_owned())).collect::<std::result::Result<_, _>>()?;
            Ok(Self { list, directory })
        }

        /// What is to happen at a point now; the file of it is written before.
        fn take(&self, name: &str) -> Option<Action> {
            let point = self.list.iter().find(|point| point.name == name)?;
            let number = (1..=point.times).find(|number| File::create_new(self.file(name, *number)).is_ok())?;
            // An empty file says as much, but for whom to wake.
            let _ = fs::write(self.file(name, number), std::process::id().to_string());
            Some(point.action)
        }

        fn file(&self, name: &str, number: u32) -> PathBuf {
            self.directory.join(format!("{name}.{number}"))
        }
    }

    fn point(text: &str) -> Option<Point> {
        let (name, action) = text.split_once('=')?;
        let (action, times) = action.split_once('*').unwrap_or((action, "1"));
        let action = match action {
            "stop" => Action::Signal(Signal::STOP),
            "kill" => Action::Signal(Signal::KILL),
            "panic" => Action::Panic,
            "fail" => Action::Fail,
            sleep => Action::Sleep(Duration::from_millis(sleep.strip_prefix("sleep-")?.parse().ok()?)),
        };
        Some(Point { name: name.to_owned(), action, times: times.parse().ok()? })
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn a_pending_signal_is_seen_in_what_the_kernel_says() {
            let status =
                "Threads:\t4\nSigPnd:\t0000000000000001\nShdPnd:\t0000000000040000\nSigBlk:\t0000000000000000\n";
            assert_eq!(pending(status), 1 << 18);
            assert_eq!(pending(&fs::read_to_string("/proc/self/status").unwrap()), 0);
        }

        /// A directory of this test, removed at its end.
        struct Directory(PathBuf);

        impl Directory {
            fn new() -> Self {
                let path = std::env::temp_dir().join(format!("lake-points-{}", uuid::Uuid::now_v7()));
                fs::create_dir(&path).unwrap();
                Self(path)
            }
        }

        impl Drop for Directory {
            fn drop(&mut self) {
                // What is left is small and the system's to remove.
                let _ = fs::remove_dir_all(&self.0);
            }
        }

        #[test]
        fn a_point_acts_as_often_as_it_says_over_all_processes_and_leaves_a_file_each_time() {
            let directory = Directory::new();
            let text = "before=kill,during=sleep-20*2,after=fail";
            // Two processes see one directory.
            let one = Points::parse(text, directory.0.clone()).unwrap();
            let other = Points::parse(text, directory.0.clone()).unwrap();
            assert_eq!(one.take("before"), Some(Action::Signal(Signal::KILL)));
            assert_eq!(other.take("before"), None);
            let sleep = Some(Action::Sleep(Duration::from_millis(20)));
            assert_eq!([one.take("during"), other.take("during"), one.take("during")], [sleep, sleep, None]);
            assert_eq!(one.take("elsewhere"), None);
            let mut files: Vec<String> = fs::read_dir(&directory.0)
                .unwrap()
                .map(|entry| entry.unwrap().file_name().into_string().unwrap())
                .collect();
            files.sort();
            assert_eq!(files, ["before.1", "during.1", "during.2"]);
            let pid = fs::read_to_string(directory.0.join("before.1")).unwrap();
            assert_eq!(pid, std::process::id().to_string());
        }

        #[test]
        fn a_list_that_is_not_one_is_refused_with_the_part_that_is_wrong() {
            for wrong in ["before", "before=burn", "before=sleep-", "before=stop*often"] {
                let text = format!("after=fail,{wrong}");
                assert_eq!(Points::parse(&text, PathBuf::new()).unwrap_err(), wrong);
            }
            assert!(Points::parse("", PathBuf::new()).unwrap().list.is_empty());
        }
    }
}
