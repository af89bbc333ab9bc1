//! A real S3 endpoint on loopback: the program `s3-server` of this crate, which honours `If-None-Match`.

use std::collections::BTreeMap;
use std::path::PathBuf;
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
        let mut command = Command::new(binary("s3-server")?);
        command.args(["--access-key", ACCESS_KEY, "--secret-key", SECRET_KEY]).args(arguments).arg(&root);
        let mut process = Process::start("s3-server", command, directory.path())?;
        let address = process.listening("s3")?;
        Ok(Self { process, address, directory })
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
