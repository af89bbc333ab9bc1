//! A real S3 endpoint on loopback: the program `s3-server` of this crate, which honours `If-None-Match`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;
use tempfile::TempDir;

use crate::process::{Process, binary};

/// Access key of the endpoint.
pub const ACCESS_KEY: &str = "lake-test-key";
/// Its secret.
pub const SECRET_KEY: &str = "lake-test-secret";

/// The endpoint, ended when dropped.
pub struct S3 {
    process: Process,
    address: String,
    directory: TempDir,
    /// Has the file of the faults that fired.
    faults: Option<TempDir>,
}

impl S3 {
    /// Starts it with these buckets.
    ///
    /// # Errors
    /// When it does not start.
    pub fn start(buckets: &[&str]) -> Result<Self> {
        Self::start_with(buckets, &[])
    }

    /// Starts it with more arguments, for example `--ignore-conditions`.
    ///
    /// # Errors
    /// When it does not start.
    pub fn start_with(buckets: &[&str], arguments: &[&str]) -> Result<Self> {
        let directory = tempfile::Builder::new().prefix("lake-s3-").tempdir()?;
        let root = directory.path().join("root");
        for bucket in buckets {
            std::fs::create_dir_all(root.join(bucket))?;
        }
        let (process, address) = serve(directory.path(), arguments)?;
        Ok(Self { process, address, directory, faults: None })
    }

    /// Ends the server and starts it again, at the same address and over the same folder, without faults.
    ///
    /// # Errors
    /// When it does not end, or does not start.
    pub fn heal(&mut self) -> Result<()> {
        self.process.kill()?;
        (self.process, _) = serve(self.directory.path(), &["--listen", &self.address])?;
        Ok(())
    }

    /// Starts it with faults, and a file that gets a line for each that fired.
    ///
    /// # Errors
    /// When it does not start.
    pub fn start_with_faults(buckets: &[&str], seed: u64, faults: &[&str]) -> Result<Self> {
        let log = tempfile::Builder::new().prefix("lake-faults-").tempdir()?;
        let file = log.path().join("fired");
        let mut arguments = vec!["--seed".to_owned(), seed.to_string()];
        arguments.extend(["--fault-log".to_owned(), file.display().to_string()]);
        for fault in faults {
            arguments.extend(["--fault".to_owned(), (*fault).to_owned()]);
        }
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let mut server = Self::start_with(buckets, &arguments)?;
        server.faults = Some(log);
        Ok(server)
    }

    /// How many faults of a kind have fired.
    pub fn fired(&self, kind: &str) -> usize {
        let file = self.faults.as_ref().map(|log| log.path().join("fired"));
        let text = file.and_then(|file| std::fs::read_to_string(file).ok()).unwrap_or_default();
        text.lines().filter(|line| line.split(' ').next() == Some(kind)).count()
    }

    /// `http://host:port`
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The variables with which object stores find it: ours, and Python's deltalake.
    pub fn environment(&self) -> BTreeMap<String, String> {
        let pairs = [
            ("AWS_ENDPOINT", self.endpoint()),
            ("AWS_ENDPOINT_URL", self.endpoint()),
            ("AWS_REGION", "us-east-1".to_owned()),
            ("AWS_ACCESS_KEY_ID", ACCESS_KEY.to_owned()),
            ("AWS_SECRET_ACCESS_KEY", SECRET_KEY.to_owned()),
            ("AWS_ALLOW_HTTP", "true".to_owned()),
        ];
        pairs.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
    }

    /// The folder in which the server keeps a bucket: what is there is stored.
    pub fn bucket_directory(&self, bucket: &str) -> PathBuf {
        self.directory.path().join("root").join(bucket)
    }

    /// Ends the server: the store cannot be reached any more.
    ///
    /// # Errors
    /// When it cannot be ended.
    pub fn kill(&mut self) -> Result<()> {
        self.process.kill()
    }
}

/// The server over `<directory>/root`, and its address.
fn serve(directory: &Path, arguments: &[&str]) -> Result<(Process, String)> {
    let mut command = Command::new(binary("s3-server")?);
    command.args(["--access-key", ACCESS_KEY, "--secret-key", SECRET_KEY]).args(arguments).arg(directory.join("root"));
    let mut process = Process::start("s3-server", command, directory)?;
    let address = process.listening("s3")?;
    Ok((process, address))
}
