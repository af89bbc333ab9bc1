//! The masters of a cluster: one, or a group, each with its data directory and addresses that it keeps over restarts.

use std::collections::BTreeMap;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result};

use crate::http::answer;
use crate::process::{Process, binary};
use crate::{DEADLINE, wait_for};

/// The masters by position; a member's number in its group is one more.
#[derive(Debug)]
pub struct Masters {
    members: Vec<Member>,
    /// Empty for one master.
    peers: String,
    environment: BTreeMap<String, String>,
    arguments: Vec<String>,
    directory: PathBuf,
}

#[derive(Debug)]
struct Member {
    process: Option<Process>,
    grpc: String,
    http: String,
    rest: String,
    /// Started with `--join`.
    joins: bool,
}

impl Member {
    fn new(grpc: String, joins: bool) -> Self {
        let anywhere = || "127.0.0.1:0".to_owned();
        Self { process: None, grpc, http: anywhere(), rest: anywhere(), joins }
    }
}

impl Masters {
    /// Starts `count` masters; more than one are a group.
    ///
    /// # Errors
    /// When one of them does not start or none gets to lead.
    pub fn start(
        count: usize,
        environment: &BTreeMap<String, String>,
        arguments: &[String],
        directory: &Path,
    ) -> Result<Self> {
        let mut masters = Self {
            members: Vec::new(),
            peers: String::new(),
            environment: environment.clone(),
            arguments: arguments.to_vec(),
            directory: directory.to_owned(),
        };
        for _ in 0..count {
            let grpc = if count > 1 { free_address()? } else { "127.0.0.1:0".to_owned() };
            masters.members.push(Member::new(grpc, false));
        }
        if count > 1 {
            let listed = masters.members.iter().enumerate();
            masters.peers =
                listed.map(|(at, member)| format!("{}@{}", at + 1, member.grpc)).collect::<Vec<_>>().join(",");
        }
        for at in 0..count {
            masters.run(at)?;
        }
        masters.leader()?;
        Ok(masters)
    }

    /// `lake://` with every address.
    pub fn url(&self) -> String {
        let addresses: Vec<&str> = self.members.iter().map(|member| member.grpc.as_str()).collect();
        format!("lake://{}", addresses.join(","))
    }

    /// `host:port` of a master's gRPC server.
    ///
    /// # Errors
    /// When there is no such master.
    pub fn address(&self, at: usize) -> Result<&str> {
        Ok(&self.member(at)?.grpc)
    }

    /// `host:port` of a master's web page.
    ///
    /// # Errors
    /// When there is no such master.
    pub fn http_address(&self, at: usize) -> Result<&str> {
        Ok(&self.member(at)?.http)
    }

    /// `host:port` of a master's REST port.
    ///
    /// # Errors
    /// When there is no such master.
    pub fn rest_address(&self, at: usize) -> Result<&str> {
        Ok(&self.member(at)?.rest)
    }

    /// A master's data directory.
    pub fn data_directory(&self, at: usize) -> PathBuf {
        self.directory.join(format!("master-{at}"))
    }

    /// What a master that runs has logged.
    ///
    /// # Errors
    /// When it does not run.
    pub fn log(&self, at: usize) -> Result<String> {
        let process = self.member(at)?.process.as_ref();
        Ok(process.with_context(|| format!("master {at} is not running"))?.stderr())
    }

    /// The process id of a master that runs.
    ///
    /// # Errors
    /// When it does not.
    pub fn pid(&self, at: usize) -> Result<u32> {
        let process = self.member(at)?.process.as_ref();
        Ok(process.with_context(|| format!("master {at} is not running"))?.pid())
    }

    /// Starts a master, or starts it again on its data and its ports.
    ///
    /// # Errors
    /// When it does not start.
    pub fn run(&mut self, at: usize) -> Result<()> {
        let command = self.command(at)?;
        let mut process = Process::start(&format!("master-{at}"), command, &self.directory)?;
        let (grpc, http, rest) = (process.listening("grpc")?, process.listening("http")?, process.listening("rest")?);
        let member = self.members.get_mut(at).with_context(|| format!("no master {at}"))?;
        (member.grpc, member.http, member.rest, member.process) = (grpc, http, rest, Some(process));
        Ok(())
    }

    /// Starts a master that is to refuse, and returns what it printed on stderr.
    ///
    /// # Errors
    /// When it goes on, or ends well.
    pub fn run_that_refuses(&self, at: usize) -> Result<String> {
        let mut process = Process::start(&format!("refused-{at}"), self.command(at)?, &self.directory)?;
        let status = process.wait(DEADLINE)?;
        anyhow::ensure!(!status.success(), "master {at} ended well");
        Ok(process.stderr())
    }

    /// One more master, which waits to be added; returns its position.
    ///
    /// # Errors
    /// When it does not start.
    pub fn join(&mut self) -> Result<usize> {
        let at = self.members.len();
        let grpc = free_address()?;
        self.members.push(Member::new(grpc, true));
        self.run(at)?;
        Ok(at)
    }

    /// kill -9 of a master.
    ///
    /// # Errors
    /// When it was not running.
    pub fn kill(&mut self, at: usize) -> Result<()> {
        self.take(at)?.kill()
    }

    /// SIGTERM to a master; its exit must be orderly.
    ///
    /// # Errors
    /// When it was not running, does not end, or ends with an error.
    pub fn stop(&mut self, at: usize) -> Result<()> {
        let status = self.take(at)?.terminate()?;
        anyhow::ensure!(status.success(), "master {at} ended with {status}");
        Ok(())
    }

    /// Whether something accepts connections at a master's address.
    pub fn answers(&self, at: usize) -> bool {
        self.member(at).is_ok_and(|member| TcpStream::connect(&member.grpc).is_ok())
    }

    /// The position of the leader, waited for.
    ///
    /// # Errors
    /// When none leads in time.
    pub fn leader(&self) -> Result<usize> {
        self.leader_but(usize::MAX)
    }

    /// The position of a leader that is not `other`, waited for.
    ///
    /// # Errors
    /// When none leads in time.
    pub fn leader_but(&self, other: usize) -> Result<usize> {
        let leads = |at: &usize| *at != other && self.role(*at).as_deref() == Some("leader");
        wait_for("a leading master", Duration::from_secs(30), || (0..self.members.len()).find(leads))
    }

    /// Waits until a master says that it has this role.
    ///
    /// # Errors
    /// When it does not in time.
    pub fn wait_for_role(&self, at: usize, roles: &[&str]) -> Result<()> {
        wait_for(&format!("master {at} to be {roles:?}"), Duration::from_secs(30), || {
            self.role(at).filter(|role| roles.contains(&role.as_str())).map(drop)
        })
    }

    /// `lake-master members …` against these masters: exit code and everything printed.
    ///
    /// # Errors
    /// When it cannot be run.
    pub fn operate(&self, arguments: &[&str]) -> Result<(i32, String)> {
        let mut command = Command::new(binary("lake-master")?);
        command.arg("members").args(arguments).args(["--master", &self.url()]).stdin(Stdio::null());
        let output = command.output().context("cannot run lake-master members")?;
        let text = [output.stdout, output.stderr].concat();
        Ok((output.status.code().unwrap_or(-1), String::from_utf8_lossy(&text).into_owned()))
    }

    fn role(&self, at: usize) -> Option<String> {
        let member = self.member(at).ok()?;
        member.process.as_ref()?;
        Some(answer(&member.http, "/readyz").ok()?.1.trim().to_owned())
    }

    fn member(&self, at: usize) -> Result<&Member> {
        self.members.get(at).with_context(|| format!("no master {at}"))
    }

    fn take(&mut self, at: usize) -> Result<Process> {
        let member = self.members.get_mut(at).with_context(|| format!("no master {at}"))?;
        member.process.take().with_context(|| format!("master {at} is not running"))
    }

    fn command(&self, at: usize) -> Result<Command> {
        let member = self.member(at)?;
        let port = |address: &str| address.rsplit(':').next().unwrap_or("0").to_owned();
        let mut command = Command::new(binary("lake-master")?);
        command.envs(&self.environment).current_dir(&self.directory);
        command.args(["--host", "127.0.0.1", "--port", &port(&member.grpc), "--webui-port", &port(&member.http)]);
        command.args(["--rest-port", &port(&member.rest)]);
        command.args(["--id", &(at + 1).to_string(), "--data-dir"]).arg(self.data_directory(at));
        if !self.peers.is_empty() {
            command.args(["--peers", &self.peers]);
        }
        if member.joins {
            command.arg("--join");
        }
        command.args(&self.arguments);
        Ok(command)
    }
}

/// An address that was free a moment ago: the members of a group know each other's ports before they start.
fn free_address() -> Result<String> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.to_string())
}
