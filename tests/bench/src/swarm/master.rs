//! The master under load: a real process, killed and started again on its ports, and what it uses. Edge.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::Context;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::net::TcpStream;
use tokio::process::{Child, ChildStdout, Command};

/// Of `/proc/<pid>/stat`; the same on every Linux.
const TICKS_PER_SECOND: f64 = 100.0;
const MEBIBYTE: f64 = 1_048_576.0;

pub(crate) struct Master {
    program: PathBuf,
    folder: PathBuf,
    core: Option<u32>,
    process: Child,
    /// Kept open: it says more when it is told to.
    _said: Lines<BufReader<ChildStdout>>,
    /// `host:port`; a later life has the same.
    pub(crate) grpc: String,
    http: String,
}

impl Master {
    pub(crate) async fn start(program: &Path, folder: &Path, core: Option<u32>) -> anyhow::Result<Self> {
        std::fs::create_dir_all(folder)?;
        let (process, mut said) = run(program, folder, core, "0", "0")?;
        let (grpc, http) = addresses(&mut said).await?;
        let (program, folder) = (program.to_owned(), folder.to_owned());
        Ok(Self { program, folder, core, process, _said: said, grpc, http })
    }

    /// On the same data and ports.
    pub(crate) async fn start_again(&mut self) -> anyhow::Result<()> {
        let port = |address: &str| address.rsplit(':').next().unwrap_or("0").to_owned();
        let (grpc, http) = (port(&self.grpc), port(&self.http));
        let (process, mut said) = run(&self.program, &self.folder, self.core, &grpc, &http)?;
        addresses(&mut said).await?;
        (self.process, self._said) = (process, said);
        Ok(())
    }

    /// kill -9, and waits until it is gone.
    pub(crate) async fn kill(&mut self) -> anyhow::Result<()> {
        Ok(self.process.kill().await?)
    }

    /// CPU seconds for each second of `time` from now on.
    pub(crate) async fn cpu_share(&self, time: Duration) -> anyhow::Result<f64> {
        let (before, started) = (self.cpu_seconds()?, Instant::now());
        tokio::time::sleep(time).await;
        Ok((self.cpu_seconds()? - before) / started.elapsed().as_secs_f64())
    }

    /// CPU seconds since its start.
    pub(crate) fn cpu_seconds(&self) -> anyhow::Result<f64> {
        let text = self.proc("stat")?;
        // The name may have anything in it but ends with the last bracket; user and system time are fields 14 and 15.
        let (_, fields) = text.rsplit_once(')').context("no name in stat")?;
        let ticks = fields.split_whitespace().skip(11).take(2).map(str::parse::<f64>);
        Ok(ticks.sum::<Result<f64, _>>()? / TICKS_PER_SECOND)
    }

    /// Resident memory now, and at most so far.
    pub(crate) fn memory_mb(&self) -> anyhow::Result<(f64, f64)> {
        let text = self.proc("status")?;
        let value = |name: &str| -> anyhow::Result<f64> {
            let line = text.lines().find_map(|line| line.strip_prefix(name)).context("no such line in status")?;
            let kibibytes = line.split_whitespace().next().context("no value in status")?;
            Ok(kibibytes.parse::<f64>()? / 1_024.0)
        };
        Ok((value("VmRSS:")?, value("VmHWM:")?))
    }

    /// Size of the data directory.
    pub(crate) fn data_mb(&self) -> anyhow::Result<f64> {
        let mut megabytes = 0.0;
        for entry in std::fs::read_dir(data(&self.folder))? {
            // 32 bits of KiB are enough for any log.
            let kibibytes = u32::try_from(entry?.metadata()?.len() / 1_024)?;
            megabytes += f64::from(kibibytes) * 1_024.0 / MEBIBYTE;
        }
        Ok(megabytes)
    }

    /// An answer of its web server, head and body.
    pub(crate) async fn get(&self, path: &str) -> anyhow::Result<String> {
        let mut stream = TcpStream::connect(&self.http).await?;
        let request = format!("GET {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", self.http);
        stream.write_all(request.as_bytes()).await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        Ok(answer)
    }

    fn proc(&self, file: &str) -> anyhow::Result<String> {
        let pid = self.process.id().context("the master has ended")?;
        Ok(std::fs::read_to_string(format!("/proc/{pid}/{file}"))?)
    }
}

fn data(folder: &Path) -> PathBuf {
    folder.join("data")
}

fn run(
    program: &Path,
    folder: &Path,
    core: Option<u32>,
    grpc: &str,
    http: &str,
) -> anyhow::Result<(Child, Lines<BufReader<ChildStdout>>)> {
    let mut command = match core {
        None => Command::new(program),
        Some(core) => {
            // It becomes the program, with the same process id.
            let mut pinned = Command::new("taskset");
            pinned.args(["-c", &core.to_string()]).arg(program);
            pinned
        }
    };
    command.args(["--host", "127.0.0.1", "--port", grpc, "--webui-port", http, "--no-rest", "--log-level", "warn"]);
    command.arg("--data-dir");
    let log = File::options().create(true).append(true).open(folder.join("master.log"))?;
    command.arg(data(folder)).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log).kill_on_drop(true);
    let mut process = command.spawn().with_context(|| format!("{} cannot be started", program.display()))?;
    let said = process.stdout.take().context("no standard output")?;
    Ok((process, BufReader::new(said).lines()))
}

/// From the lines `listening grpc …` and `listening http …`.
async fn addresses(said: &mut Lines<BufReader<ChildStdout>>) -> anyhow::Result<(String, String)> {
    let (mut grpc, mut http) = (None, None);
    while let Some(line) = said.next_line().await? {
        if let Some(address) = line.strip_prefix("listening grpc ") {
            grpc = Some(address.to_owned());
        }
        if let Some(address) = line.strip_prefix("listening http ") {
            http = Some(address.to_owned());
        }
        if let (Some(grpc), Some(http)) = (&grpc, &http) {
            return Ok((grpc.clone(), http.clone()));
        }
    }
    anyhow::bail!("the master ended before it listened; its log is master.log")
}
