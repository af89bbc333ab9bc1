//! A real PostgreSQL server for tests: its own data directory, a free port on loopback, stopped when it is dropped.
//!
//! PostgreSQL refuses to run as root; then it runs as the user `postgres` or `nobody`.

use std::io::{BufRead, BufReader, Read};
use std::net::TcpListener;
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use tempfile::TempDir;

/// The superuser's password: with characters that a URL must escape.
pub(crate) const PASSWORD: &str = "p@ss/word";
const PASSWORD_IN_URL: &str = "p%40ss%2Fword";

/// A running server.
pub(crate) struct Server {
    postmaster: Mutex<Child>,
    binaries: PathBuf,
    port: u16,
    _directory: TempDir,
}

impl Server {
    /// Starts a server of its own: for tests that break it.
    pub(crate) fn start() -> Self {
        let binaries = binaries();
        let directory = tempfile::Builder::new().prefix("lake-pg-").tempdir().expect("temporary directory");
        let user = unprivileged_user();
        let (data, password_file) = (directory.path().join("data"), directory.path().join("password"));
        std::fs::write(&password_file, PASSWORD).expect("password file");
        if let Some((uid, gid)) = user {
            for path in [directory.path(), &password_file] {
                chown(path, Some(uid), Some(gid)).expect("chown");
            }
        }
        let mut initdb = as_user(&binaries.join("initdb"), user, directory.path());
        initdb.arg("-D").arg(&data).arg("--pwfile").arg(&password_file);
        initdb.args(["-U", "postgres", "-A", "scram-sha-256", "-E", "UTF8", "--locale=C.UTF-8", "--no-sync"]);
        let made = initdb.output().expect("initdb starts");
        assert!(made.status.success(), "initdb: {}", String::from_utf8_lossy(&made.stderr));
        // The port may be taken between its choice and its use.
        for _ in 0..10 {
            let port = free_port();
            let mut postgres = as_user(&binaries.join("postgres"), user, directory.path());
            postgres.arg("-D").arg(&data).args(["-p", &port.to_string(), "-h", "127.0.0.1"]);
            for setting in ["fsync=off", "unix_socket_directories=", "shared_buffers=256MB", "max_connections=200"] {
                postgres.args(["-c", setting]);
            }
            let mut postmaster = postgres.stderr(Stdio::piped()).spawn().expect("postgres starts");
            let log = postmaster.stderr.take().expect("its log");
            if wait_until_ready(log) {
                return Self { postmaster: Mutex::new(postmaster), binaries, port, _directory: directory };
            }
            let _ = postmaster.wait();
        }
        panic!("no PostgreSQL server could be started");
    }

    /// The server that tests share; it stops when the last of them is done.
    pub(crate) fn shared() -> Arc<Self> {
        static SHARED: Mutex<Weak<Server>> = Mutex::new(Weak::new());
        let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        shared.upgrade().unwrap_or_else(|| {
            let server = Arc::new(Self::start());
            *shared = Arc::downgrade(&server);
            server
        })
    }

    /// A URL with the superuser's password.
    pub(crate) fn url(&self, database: &str) -> String {
        format!("postgres://postgres:{PASSWORD_IN_URL}@127.0.0.1:{}/{database}", self.port)
    }

    /// Port on 127.0.0.1.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Runs SQL in `psql` and returns the rows' fields as text (`None` for NULL). Panics with psql's message when the
    /// SQL fails.
    pub(crate) fn psql(&self, database: &str, sql: &str) -> Vec<Vec<Option<String>>> {
        let psql = Command::new(self.binaries.join("psql"))
            .args(["-X", "-q", "-A", "-t", "-F", "\u{1}", "-R", "\u{2}", "-P", "null=\u{3}"])
            .args(["-v", "ON_ERROR_STOP=1", "-d", &self.url(database), "-c", sql])
            .env("PGTZ", "UTC")
            .output()
            .expect("psql starts");
        assert!(psql.status.success(), "psql: {}\n{sql}", String::from_utf8_lossy(&psql.stderr));
        let output = String::from_utf8(psql.stdout).expect("UTF-8");
        // psql ends its output with a line break.
        let output = output.strip_suffix('\n').unwrap_or(&output);
        if output.is_empty() {
            return Vec::new();
        }
        let field = |text: &str| (text != "\u{3}").then(|| text.to_owned());
        output.split('\u{2}').map(|row| row.split('\u{1}').map(field).collect()).collect()
    }

    /// The one value of a query that gives one.
    pub(crate) fn value(&self, database: &str, sql: &str) -> String {
        self.psql(database, sql).remove(0).remove(0).expect("a value that is not NULL")
    }

    /// Ends the server as a crash does, without good-bye.
    pub(crate) fn crash(&self) {
        let mut postmaster = self.postmaster.lock().unwrap_or_else(PoisonError::into_inner);
        signal(&postmaster, "-QUIT");
        let _ = postmaster.wait();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let postmaster = self.postmaster.get_mut().unwrap_or_else(PoisonError::into_inner);
        if matches!(postmaster.try_wait(), Ok(None)) {
            signal(postmaster, "-QUIT");
            let _ = postmaster.wait();
        }
    }
}

fn signal(process: &Child, signal: &str) {
    let _ = Command::new("kill").args([signal, &process.id().to_string()]).status();
}

/// The newest installed version.
fn binaries() -> PathBuf {
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let newest = versions
        .filter_map(|entry| Some((entry.file_name().to_str()?.parse::<u32>().ok()?, entry.path().join("bin"))))
        .filter(|(_, binaries)| binaries.join("postgres").exists())
        .max();
    newest.expect("PostgreSQL's server is installed under /usr/lib/postgresql (Debian package postgresql)").1
}

/// User and group to run as when this process is root.
fn unprivileged_user() -> Option<(u32, u32)> {
    let number = |arguments: &[&str]| -> Option<u32> {
        let output = Command::new("id").args(arguments).stderr(Stdio::null()).output().ok()?;
        String::from_utf8(output.stdout).ok()?.trim().parse().ok()
    };
    if number(&["-u"]) != Some(0) {
        return None;
    }
    ["postgres", "nobody"].iter().find_map(|user| Some((number(&["-u", user])?, number(&["-g", user])?)))
}

fn as_user(program: &Path, user: Option<(u32, u32)>, directory: &Path) -> Command {
    let mut command = Command::new(program);
    command.current_dir(directory).env("LC_ALL", "C.UTF-8").stdin(Stdio::null()).stdout(Stdio::null());
    if let Some((uid, gid)) = user {
        command.uid(uid).gid(gid);
    }
    command
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a free port").port()
}

/// Reads the log until the server is ready, and goes on reading so that it never blocks. False when it ended instead.
fn wait_until_ready(log: ChildStderr) -> bool {
    let mut log = BufReader::new(log);
    let mut line = String::new();
    while log.read_line(&mut line).is_ok_and(|length| length > 0) {
        if line.contains("ready to accept connections") {
            std::thread::spawn(move || {
                let mut buffer = [0; 4096];
                while log.read(&mut buffer).is_ok_and(|length| length > 0) {}
            });
            return true;
        }
        line.clear();
    }
    false
}
