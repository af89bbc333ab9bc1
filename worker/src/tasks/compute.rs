//! The threads that run tasks: apart from those that serve, so that a busy worker still answers; made at the first
//! task, so that an idle worker is small. Edge.

use std::future::Future;
use std::sync::{Mutex, PoisonError};

use lake_engine::EngineError;
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::task::JoinHandle;

/// Deep plans recurse deeply.
pub const STACK_BYTES: usize = 32 << 20;

/// A runtime with one thread per core.
#[derive(Debug)]
pub(super) struct Compute {
    threads: usize,
    runtime: Mutex<Option<Runtime>>,
}

impl Compute {
    /// Nothing is started yet.
    pub(super) fn new(threads: usize) -> Self {
        Self { threads: threads.max(1), runtime: Mutex::new(None) }
    }

    /// Runs a future on the compute threads.
    ///
    /// # Errors
    /// `unavailable` when the host gives no more threads.
    pub(super) fn spawn<F>(&self, future: F) -> Result<JoinHandle<F::Output>, EngineError>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        Ok(self.handle()?.spawn(future))
    }

    fn handle(&self) -> Result<Handle, EngineError> {
        let mut runtime = self.runtime.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(runtime) = runtime.as_ref() {
            return Ok(runtime.handle().clone());
        }
        let built = Builder::new_multi_thread()
            // One more than there are cores: a merge that polls a spill's reader within one turn would keep the only
            // thread from running that reader, for ever.
            .worker_threads(self.threads + 1)
            .thread_name("compute")
            .thread_stack_size(STACK_BYTES)
            .enable_all()
            .build()
            .map_err(|error| EngineError::unavailable("threads", format!("cannot start compute threads: {error}")))?;
        let handle = built.handle().clone();
        *runtime = Some(built);
        Ok(handle)
    }
}

impl Drop for Compute {
    fn drop(&mut self) {
        // A runtime must not be waited for inside another one.
        if let Some(runtime) = self.runtime.lock().unwrap_or_else(PoisonError::into_inner).take() {
            runtime.shutdown_background();
        }
    }
}
