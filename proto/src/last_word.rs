//! The end of a process that must end, whatever its other threads do. Edge.
//!
//! Never here: when a process must end, and what it says; its program decides that.

use std::process::exit;
use std::thread::{Builder, park_timeout};
use std::time::{Duration, Instant};

use rustix::process::{Signal, getpid, kill_process};

/// How long the process may take to say why it ends, and to do so in order.
const PATIENCE: Duration = Duration::from_secs(1);

/// Says the last word of this process and ends it with the exit code `code`. When that takes longer than a second, because
/// nobody reads what is said or another thread holds what is needed for it, SIGKILL ends the process.
pub fn end(code: u8, say: impl FnOnce()) -> ! {
    let backstop = Builder::new().name("last-word".to_owned()).spawn(|| {
        let since = Instant::now();
        while since.elapsed() < PATIENCE {
            park_timeout(PATIENCE);
        }
        kill_this();
    });
    if backstop.is_err() {
        kill_this();
    }
    say();
    exit(i32::from(code))
}

fn kill_this() {
    // A process may always signal itself.
    let _ = kill_process(getpid(), Signal::KILL);
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::unix::process::ExitStatusExt;
    use std::process::{Command, Output};

    use super::*;

    /// Set in the processes that end.
    const ROLE: &str = "LAKE_TEST_LAST_WORD";
    const NAME: &str = "last_word::tests::a_process_ends_with_its_word_and_code_and_without_them_when_nobody_listens";

    /// This test once more, in a process of its own that plays this role.
    fn process(role: &str) -> Output {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", NAME, "--nocapture", "--test-threads=1"]).env(ROLE, role).output().unwrap()
    }

    #[test]
    fn a_process_ends_with_its_word_and_code_and_without_them_when_nobody_listens() {
        match std::env::var(ROLE).as_deref() {
            Ok("said") => end(6, || std::io::stderr().write_all(b"the last word\n").unwrap()),
            Ok(_) => end(6, || {
                loop {
                    std::thread::park();
                }
            }),
            Err(_) => {}
        }
        let said = process("said");
        assert_eq!(said.status.code(), Some(6), "{said:?}");
        assert!(String::from_utf8_lossy(&said.stderr).contains("the last word"), "{said:?}");
        let stuck = process("stuck");
        assert_eq!(stuck.status.signal(), Some(9), "{stuck:?}");
    }
}
