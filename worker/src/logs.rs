//! What drivers printed, to masters (gRPC) and to the page. Ids come in, never paths. Edge.

use std::io::SeekFrom;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use bytes::{Bytes, BytesMut};
use futures::Stream;
use lake_proto::v1::worker_logs_server::WorkerLogs;
use lake_proto::v1::{LogChunk, ReadLogRequest};
use lake_proto::{DriverId, ErrorClass, Fault};
use tokio::fs::File;
use tokio::io::{AsyncReadExt, AsyncSeekExt};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::{Request, Response, Status};

use crate::drivers::Drivers;
use crate::workdir::WorkDir;

const CHUNK_BYTES: usize = 64 << 10;
/// Chunks that may wait for a slow reader.
const READ_AHEAD: usize = 4;
const LOOK_AGAIN: Duration = Duration::from_millis(200);

/// Which of a driver's two logs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Which {
    /// What it printed.
    Stdout,
    /// What it logged.
    Stderr,
}

impl Which {
    /// The log with this name.
    pub fn named(name: &str) -> Option<Self> {
        match name {
            "stdout" => Some(Self::Stdout),
            "stderr" => Some(Self::Stderr),
            _ => None,
        }
    }

    fn file(self) -> &'static str {
        match self {
            Self::Stdout => "stdout",
            Self::Stderr => "stderr",
        }
    }
}

/// The logs of the drivers that run or ran here.
#[derive(Clone)]
pub struct Logs {
    work: Arc<WorkDir>,
    drivers: Arc<Drivers>,
    /// The answers that are being sent.
    answers: TaskTracker,
    stopped: CancellationToken,
}

impl Logs {
    /// Logs below the work directory.
    pub fn new(work: Arc<WorkDir>, drivers: Arc<Drivers>) -> Self {
        Self { work, drivers, answers: TaskTracker::new(), stopped: CancellationToken::new() }
    }

    /// Lets the answers that are being sent come to their end, and breaks them off after `patience`: one whose reader
    /// is slow, or whose driver did not end, would go on for ever. Returns when none is left.
    pub async fn stop(&self, patience: Duration) {
        self.answers.close();
        if tokio::time::timeout(patience, self.answers.wait()).await.is_err() {
            self.stopped.cancel();
            self.answers.wait().await;
        }
    }

    /// The last bytes of a log, at most `limit`, and the offset of the first of them.
    ///
    /// # Errors
    /// `not-found` when no such driver ran here, `unavailable` when its log cannot be read.
    pub async fn tail(&self, driver: &str, which: Which, limit: u64) -> Result<(u64, Bytes), Fault> {
        let path = self.path(driver, which)?;
        let unreadable = |error: std::io::Error| unreadable(driver, &error);
        let mut file = File::open(path).await.map_err(unreadable)?;
        let length = file.metadata().await.map_err(unreadable)?.len();
        let offset = length.saturating_sub(limit);
        file.seek(SeekFrom::Start(offset)).await.map_err(unreadable)?;
        let mut bytes = Vec::new();
        file.take(limit).read_to_end(&mut bytes).await.map_err(unreadable)?;
        Ok((offset, bytes.into()))
    }

    fn path(&self, driver: &str, which: Which) -> Result<PathBuf, Fault> {
        let id: DriverId =
            driver.parse().map_err(|error| Fault::new(ErrorClass::InvalidJob, "driver-id", format!("{error}")))?;
        let missing = || {
            let message = format!("driver {id} has no logs on this worker: it ran elsewhere, or they were cleaned up");
            Fault::new(ErrorClass::NotFound, "no-log", message)
        };
        let path = self.work.find_driver(&id).ok_or_else(missing)?.join(which.file());
        // A driver may write what it likes into its directory, also links.
        let canonical = path.canonicalize().map_err(|_| missing())?;
        if canonical.starts_with(self.work.root()) { Ok(canonical) } else { Err(missing()) }
    }

    /// As [`Self::path`]; waits for the log of a driver that is just being started.
    async fn path_soon(&self, request: &ReadLogRequest, which: Which) -> Result<PathBuf, Fault> {
        loop {
            let starting = request.driver_id.parse().is_ok_and(|driver| self.drivers.is_running(&driver));
            match self.path(&request.driver_id, which) {
                Err(fault) if request.follow && starting && fault.class == ErrorClass::NotFound => {
                    tokio::time::sleep(LOOK_AGAIN).await;
                }
                found => return found,
            }
        }
    }

    /// Sends a log from `offset` on. With `follow` until the driver has ended and everything was sent.
    async fn send(self, request: ReadLogRequest, path: PathBuf, chunks: mpsc::Sender<Result<LogChunk, Status>>) {
        let driver = &request.driver_id;
        let fault = match self.stopped.run_until_cancelled(self.copy(&request, path, &chunks)).await {
            Some(Ok(())) => return,
            Some(Err(error)) => unreadable(driver, &error),
            None => {
                let message = format!("the worker stopped before the log of {driver} was sent to its end");
                Fault::new(ErrorClass::Unavailable, "worker-stopping", message)
            }
        };
        // Nobody to tell when the reader is gone; one that does not read is not waited for.
        let _ = chunks.try_send(Err(fault.into()));
    }

    async fn copy(
        &self,
        request: &ReadLogRequest,
        path: PathBuf,
        chunks: &mpsc::Sender<Result<LogChunk, Status>>,
    ) -> std::io::Result<()> {
        let mut file = File::open(path).await?;
        let mut offset = request.offset;
        if request.tail_bytes > 0 {
            let length = file.metadata().await?.len();
            offset = offset.max(length.saturating_sub(request.tail_bytes));
        }
        file.seek(SeekFrom::Start(offset)).await?;
        loop {
            // Asked before reading: what a driver printed before its end is in the file when it has ended.
            let running = request.driver_id.parse().is_ok_and(|driver| self.drivers.is_running(&driver));
            let modified_ms = modified_ms(&file.metadata().await?);
            loop {
                let mut data = BytesMut::with_capacity(CHUNK_BYTES);
                if file.read_buf(&mut data).await? == 0 {
                    break;
                }
                let data = data.freeze();
                let length = u64::try_from(data.len()).unwrap_or(0);
                if chunks.send(Ok(LogChunk { data, offset, modified_ms })).await.is_err() {
                    return Ok(());
                }
                offset += length;
            }
            if !request.follow || !running {
                return Ok(());
            }
            tokio::select! {
                () = chunks.closed() => return Ok(()),
                () = tokio::time::sleep(LOOK_AGAIN) => {}
            }
        }
    }
}

#[tonic::async_trait]
impl WorkerLogs for Logs {
    type ReadLogStream = Pin<Box<dyn Stream<Item = Result<LogChunk, Status>> + Send>>;

    async fn read_log(&self, request: Request<ReadLogRequest>) -> Result<Response<Self::ReadLogStream>, Status> {
        let request = request.into_inner();
        let which = Which::named(&request.stream).ok_or_else(|| {
            let message = format!("log '{}' is not known: expected stdout or stderr", request.stream);
            Status::from(Fault::new(ErrorClass::InvalidJob, "request", message))
        })?;
        let path = self.path_soon(&request, which).await.map_err(Status::from)?;
        let (sender, receiver) = mpsc::channel(READ_AHEAD);
        self.answers.spawn(self.clone().send(request, path, sender));
        Ok(Response::new(Box::pin(ReceiverStream::new(receiver))))
    }
}

fn modified_ms(metadata: &std::fs::Metadata) -> u64 {
    let since = metadata.modified().ok().and_then(|at| at.duration_since(UNIX_EPOCH).ok());
    since.and_then(|since| u64::try_from(since.as_millis()).ok()).unwrap_or(0)
}

fn unreadable(driver: &str, error: &std::io::Error) -> Fault {
    Fault::new(ErrorClass::Unavailable, "io", format!("the log of {driver} cannot be read: {error}"))
}
