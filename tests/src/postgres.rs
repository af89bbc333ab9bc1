//! A real PostgreSQL server of the distribution, with a data directory of its own, on a free port.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use anyhow::{Context, Result};
use rustix::process::Signal;
use tempfile::TempDir;

use crate::process::{Process, signal};
use crate::{DEADLINE, wait_for};

const USER: &str = "postgres";
const PASSWORD: &str = "lake-test-password";
const PORT_ATTEMPTS: usize = 5;

/// The server, ended when dropped.
pub struct Postgres {
    process: Option<Process>,
    port: u16,
    programs: PathBuf,
    directory: TempDir,
}

impl Postgres {
    /// Starts a server with an empty database `crm`; every connection needs a password.
    ///
    /// # Errors
    /// When PostgreSQL is not installed or does not start.
    pub fn start() -> Result<Self> {
        let programs = programs()?;
        let directory = tempfile::Builder::new().prefix("lake-postgres-").tempdir()?;
        let data = directory.path().join("data");
        let password = directory.path().join("password");
        std::fs::write(&password, PASSWORD)?;
        give_away(directory.path())?;
        let mut initdb = unprivileged(&programs.join("initdb"));
        initdb.arg("-D").arg(&data).arg("--pwfile").arg(&password);
        initdb.args(["-U", USER, "-A", "scram-sha-256", "-E", "UTF8", "--locale=C", "--no-sync"]);
        checked(initdb.current_dir(directory.path()).output()?, "initdb")?;
        let mut server = Self { process: None, port: 0, programs, directory };
        server.launch()?;
        server.psql("postgres", "CREATE DATABASE crm")?;
        Ok(server)
    }

    /// URL of the database `crm`.
    pub fn url(&self) -> String {
        self.url_with_password(PASSWORD)
    }

    /// The same with another password.
    pub fn url_with_password(&self, password: &str) -> String {
        format!("postgres://{USER}:{password}@127.0.0.1:{}/crm", self.port)
    }

    /// Runs SQL with psql and returns what it prints, unaligned, tuples only.
    ///
    /// # Errors
    /// When a statement fails.
    pub fn psql(&self, database: &str, sql: &str) -> Result<String> {
        let output = self.psql_command(database).args(["-c", sql]).output()?;
        Ok(checked(output, sql)?.trim().to_owned())
    }

    /// Runs a script with psql.
    ///
    /// # Errors
    /// When a statement fails.
    pub fn script(&self, database: &str, path: &Path) -> Result<()> {
        let output = self.psql_command(database).arg("-f").arg(path).output()?;
        checked(output, &path.display().to_string()).map(drop)
    }

    /// Ends the server at once, as a crash would.
    ///
    /// # Errors
    /// When it does not end.
    pub fn crash(&mut self) -> Result<()> {
        let mut process = self.process.take().context("the server is not running")?;
        // SIGQUIT is PostgreSQL's immediate shutdown: its children end too, nothing is flushed.
        signal(process.pid(), Signal::QUIT)?;
        process.wait(Duration::from_secs(30)).map(drop)
    }

    /// Makes the function `gate(bigint)`, which gives its argument back as soon as the gate is open, and closes the
    /// gate: reads wait in their middle until a test lets them go on.
    ///
    /// # Errors
    /// When a statement fails.
    pub fn close_gate(&self) -> Result<Gate<'_>> {
        self.close("gate", 42)
    }

    /// The same with the function `late_gate(bigint)`: a job can be held at one place after the other.
    ///
    /// # Errors
    /// When a statement fails.
    pub fn close_late_gate(&self) -> Result<Gate<'_>> {
        self.close("late_gate", 43)
    }

    fn close(&self, function: &str, key: u32) -> Result<Gate<'_>> {
        let make = format!(
            "CREATE OR REPLACE FUNCTION {function}(n bigint) RETURNS bigint LANGUAGE plpgsql VOLATILE AS $$ BEGIN \
             PERFORM pg_advisory_lock_shared({key}); PERFORM pg_advisory_unlock_shared({key}); RETURN n; END $$"
        );
        self.psql("crm", &make)?;
        let name = format!("keeper-of-{function}");
        let mut command = self.psql_command("crm");
        command.env("PGAPPNAME", &name);
        command.args(["-c", &format!("SELECT pg_advisory_lock({key})"), "-c", "SELECT pg_sleep(86400)"]);
        let keeper = Process::start(&name, command, self.directory.path())?;
        let gate = Gate { server: self, key, name, keeper: Some(keeper) };
        let held = format!(
            "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND granted AND mode = 'ExclusiveLock' AND objid = {key}"
        );
        wait_for("the gate to close", Duration::from_secs(30), || {
            (self.psql("crm", &held).ok()? == "1").then_some(())
        })?;
        Ok(gate)
    }

    fn psql_command(&self, database: &str) -> Command {
        let mut command = Command::new(self.programs.join("psql"));
        command.args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-h", "127.0.0.1", "-U", USER, "-d", database]);
        command.arg("-p").arg(self.port.to_string()).env("PGPASSWORD", PASSWORD);
        command
    }

    fn launch(&mut self) -> Result<()> {
        let mut last = None;
        for _ in 0..PORT_ATTEMPTS {
            // PostgreSQL cannot choose a port itself; somebody else may take this one first.
            let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
            match self.launch_on(port) {
                Ok(()) => return Ok(()),
                Err(error) => last = Some(error),
            }
        }
        Err(last.unwrap_or_else(|| anyhow::anyhow!("no free port")))
    }

    fn launch_on(&mut self, port: u16) -> Result<()> {
        let folder = self.directory.path();
        let mut command = unprivileged(&self.programs.join("postgres"));
        command.arg("-D").arg(folder.join("data")).arg("-p").arg(port.to_string()).arg("-k").arg(folder);
        for setting in ["listen_addresses=127.0.0.1", "fsync=off", "full_page_writes=off", "max_connections=200"] {
            command.args(["-c", setting]);
        }
        command.current_dir(folder);
        let mut process = Process::start("postgres", command, folder)?;
        self.port = port;
        let ready = wait_for("PostgreSQL to be ready", Duration::from_secs(60), || {
            if !process.is_running() {
                return Some(Err(anyhow::anyhow!("PostgreSQL has ended: {}", process.stderr())));
            }
            self.psql("postgres", "SELECT 1").ok().map(|_| Ok(()))
        });
        ready??;
        self.process = Some(process);
        Ok(())
    }
}

/// A closed gate; dropped or opened, those who wait go on.
pub struct Gate<'a> {
    server: &'a Postgres,
    key: u32,
    name: String,
    keeper: Option<Process>,
}

impl Gate<'_> {
    /// Waits until `count` sessions stand before the gate and returns their clients' ports.
    ///
    /// # Errors
    /// When they do not come in time.
    pub fn wait_for_visitors(&self, count: usize) -> Result<Vec<u16>> {
        let key = self.key;
        let sql = format!(
            "SELECT a.client_port FROM pg_locks l JOIN pg_stat_activity a USING (pid) \
             WHERE l.locktype = 'advisory' AND NOT l.granted AND l.objid = {key} ORDER BY 1"
        );
        wait_for(&format!("{count} readers at the gate"), DEADLINE, || {
            let ports: Vec<u16> = self.server.psql("crm", &sql).ok()?.lines().filter_map(|p| p.parse().ok()).collect();
            (ports.len() >= count).then_some(ports)
        })
    }

    /// Lets everybody through, now and later.
    ///
    /// # Errors
    /// When the server does not answer.
    pub fn open(mut self) -> Result<()> {
        self.release()
    }

    fn release(&mut self) -> Result<()> {
        let Some(mut keeper) = self.keeper.take() else { return Ok(()) };
        let keepers = format!("FROM pg_stat_activity WHERE application_name = '{}'", self.name);
        let released = self.server.psql("crm", &format!("SELECT pg_terminate_backend(pid) {keepers}"));
        keeper.kill()?;
        released.map(drop)
    }
}

impl Drop for Gate<'_> {
    fn drop(&mut self) {
        // The server may be gone, and the gate with it.
        let _ = self.release();
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        if self.process.is_some() && self.crash().is_err() {
            eprintln!("PostgreSQL on port {} could not be ended", self.port);
        }
    }
}

/// The newest installed server.
fn programs() -> Result<PathBuf> {
    let root = Path::new("/usr/lib/postgresql");
    let versions = std::fs::read_dir(root).context("PostgreSQL is not installed: scripts/test installs it")?;
    let number = |path: &PathBuf| path.file_name().and_then(|name| name.to_str()?.parse::<u32>().ok());
    let folders = versions.filter_map(|entry| Some(entry.ok()?.path()));
    let newest = folders.filter(|path| path.join("bin/postgres").is_file()).max_by_key(number);
    Ok(newest.context("no PostgreSQL server under /usr/lib/postgresql: scripts/test installs it")?.join("bin"))
}

/// PostgreSQL refuses to run as root: it then runs as the user that its package has made.
fn unprivileged(program: &Path) -> Command {
    if !rustix::process::geteuid().is_root() {
        return Command::new(program);
    }
    let mut command = Command::new("setpriv");
    command.args(["--reuid", USER, "--regid", USER, "--clear-groups", "--"]).arg(program);
    command
}

fn give_away(directory: &Path) -> Result<()> {
    if !rustix::process::geteuid().is_root() {
        return Ok(());
    }
    checked(Command::new("chown").args(["-R", USER]).arg(directory).output()?, "chown").map(drop)
}

fn checked(output: Output, what: &str) -> Result<String> {
    let stderr = String::from_utf8_lossy(&output.stderr);
    anyhow::ensure!(output.status.success(), "{what} ended with {}: {stderr}", output.status);
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
