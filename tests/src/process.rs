//! Programs under test: started with their output captured, ended by their own pid, never left behind.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context, Result};
use rustix::process::{Pid, Signal, kill_process};

use crate::{DEADLINE, wait_for};

/// The program `name` of this workspace: beside the running test, in the target directory.
///
/// # Errors
/// When it was not built; `cargo build --workspace --all-targets` builds it.
pub fn binary(name: &str) -> Result<PathBuf> {
    let test = std::env::current_exe()?;
    let path = test.ancestors().skip(1).map(|folder| folder.join(name)).find(|path| path.is_file());
    path.with_context(|| {
        format!("no program {name} near {}: run cargo build --workspace --all-targets first", test.display())
    })
}

/// A running program whose standard output and error go to files.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    stdout: PathBuf,
    stderr: PathBuf,
}

impl Process {
    /// Starts `command`; its output goes to `<directory>/<name>.out` and `.err`.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(name: &str, mut command: Command, directory: &Path) -> Result<Self> {
        std::fs::create_dir_all(directory)?;
        let stdout = directory.join(format!("{name}.out"));
        let stderr = directory.join(format!("{name}.err"));
        let append = |path: &Path| File::options().create(true).append(true).open(path);
        std::fs::write(&stdout, "")?;
        command.stdin(Stdio::null()).stdout(append(&stdout)?).stderr(append(&stderr)?);
        let child = command.spawn().with_context(|| format!("cannot start {name}: {command:?}"))?;
        Ok(Self { name: name.to_owned(), child, stdout, stderr })
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it has printed.
    pub fn stdout(&self) -> String {
        std::fs::read_to_string(&self.stdout).unwrap_or_default()
    }

    /// What it has logged, also in former lives under the same name.
    pub fn stderr(&self) -> String {
        std::fs::read_to_string(&self.stderr).unwrap_or_default()
    }

    /// The address in its line `listening <service> <address>`, waited for.
    ///
    /// # Errors
    /// When it ends before, or has not printed it in time.
    pub fn listening(&mut self, service: &str) -> Result<String> {
        let prefix = format!("listening {service} ");
        let name = self.name.clone();
        let answer = wait_for(&format!("'{prefix}' of {name}"), Duration::from_secs(30), || {
            let text = self.stdout();
            // A line is whole when its end is there.
            let lines = text.split_inclusive('\n').filter(|line| line.ends_with('\n'));
            let address = lines.filter_map(|line| line.strip_prefix(&prefix)).next();
            match (address, self.child.try_wait()) {
                (Some(address), _) => Some(Ok(address.trim().to_owned())),
                (None, Ok(None)) => None,
                (None, _) => Some(Err(anyhow::anyhow!("{name} has ended"))),
            }
        });
        answer.and_then(|address| address).with_context(|| format!("stderr of {name}:\n{}", tail(&self.stderr())))
    }

    /// Whether it still runs.
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// kill -9, and waits until it is gone.
    ///
    /// # Errors
    /// When it cannot be waited for.
    pub fn kill(&mut self) -> Result<()> {
        if self.is_running() {
            self.child.kill()?;
        }
        self.child.wait()?;
        Ok(())
    }

    /// SIGTERM, and waits for its orderly end.
    ///
    /// # Errors
    /// When it does not end in time.
    pub fn terminate(&mut self) -> Result<ExitStatus> {
        signal(self.pid(), Signal::TERM)?;
        self.wait(DEADLINE)
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// When it does not end in time.
    pub fn wait(&mut self, deadline: Duration) -> Result<ExitStatus> {
        let what = format!("the end of {}", self.name);
        wait_for(&what, deadline, || self.child.try_wait().transpose())?.context(what)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.kill().is_err() {
            eprintln!("{} (pid {}) could not be ended", self.name, self.pid());
        }
        if std::thread::panicking() {
            eprintln!("---- {} ----\n{}", self.name, tail(&self.stderr()));
        }
    }
}

/// Sends `signal` to a process.
///
/// # Errors
/// When there is no such process.
pub fn signal(pid: u32, signal: Signal) -> Result<()> {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).context("not a pid")?;
    Ok(kill_process(pid, signal)?)
}

/// Children of `parent` whose command line has the word `word`.
pub fn children(parent: u32, word: &str) -> Vec<u32> {
    let Ok(entries) = std::fs::read_dir("/proc") else { return Vec::new() };
    let pids = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok());
    pids.filter(|pid| parent_of(*pid) == Some(parent) && command_line(*pid).iter().any(|part| part == word)).collect()
}

/// Whether a process has a TCP socket with this local port.
pub fn has_local_port(pid: u32, port: u16) -> bool {
    let table = std::fs::read_to_string(format!("/proc/{pid}/net/tcp")).unwrap_or_default();
    let suffix = format!(":{port:04X}");
    let sockets: Vec<String> = table
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>())
        .filter(|fields| fields.get(1).is_some_and(|local| local.ends_with(&suffix)))
        .filter_map(|fields| fields.get(9).map(|inode| format!("socket:[{inode}]")))
        .collect();
    let Ok(files) = std::fs::read_dir(format!("/proc/{pid}/fd")) else { return false };
    let mut targets = files.flatten().filter_map(|file| std::fs::read_link(file.path()).ok());
    targets.any(|target| sockets.iter().any(|socket| target.as_os_str() == socket.as_str()))
}

/// `command` in a mount namespace in which `directory` is a disk of `bytes`; needs no rights outside of it.
///
/// # Errors
/// When the directory cannot be made.
pub fn on_small_disk(directory: &Path, bytes: u64, command: &Command) -> Result<Command> {
    std::fs::create_dir_all(directory)?;
    let mount = format!("mount -t tmpfs -o size={bytes} tmpfs \"$0\" && exec \"$@\"");
    let mut wrapped = Command::new("unshare");
    wrapped.args(["--map-root-user", "--mount", "sh", "-c", &mount]).arg(directory);
    wrapped.arg(command.get_program()).args(command.get_args());
    Ok(wrapped)
}

fn parent_of(pid: u32) -> Option<u32> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in parentheses may hold anything; the parent is the second field after it.
    stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()
}

fn command_line(pid: u32) -> Vec<String> {
    let text = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    text.split(|byte| *byte == 0).map(|part| String::from_utf8_lossy(part).into_owned()).collect()
}

fn tail(text: &str) -> &str {
    const SHOWN: usize = 8_000;
    let start = text.len().saturating_sub(SHOWN);
    text.get(start..).unwrap_or(text)
}
