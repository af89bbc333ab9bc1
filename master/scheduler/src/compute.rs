//! Threads for planning and encoding: work that would hold up the owner, and deep plans need a deep stack. Edge.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use lake_proto::{ErrorClass, Fault};
use tokio::sync::{mpsc, oneshot};

const STACK_BYTES: usize = 32 << 20;
/// Callers beyond this wait for a place.
const WAITING_JOBS: usize = 256;

type Job = Box<dyn FnOnce() + Send>;

/// A handle to the threads; they end when the last handle is dropped.
#[derive(Clone)]
pub(crate) struct Compute {
    jobs: mpsc::Sender<Job>,
}

impl Compute {
    pub(crate) fn start(threads: usize) -> Self {
        let (jobs, receiver) = mpsc::channel::<Job>(WAITING_JOBS);
        let receiver = Arc::new(Mutex::new(receiver));
        for number in 0..threads.max(1) {
            let receiver = receiver.clone();
            let work = move || {
                while let Some(job) = next(&receiver) {
                    job();
                }
            };
            let builder = thread::Builder::new().name(format!("lake-plan-{number}")).stack_size(STACK_BYTES);
            if let Err(error) = builder.spawn(work) {
                tracing::error!(%error, "a planning thread could not be started");
            }
        }
        Self { jobs }
    }

    /// Runs `work` on one of the threads. Dropping the future does not stop work that has begun.
    ///
    /// # Errors
    /// `internal` when `work` panics or no thread is left.
    pub(crate) async fn run<T, W>(&self, work: W) -> Result<T, Fault>
    where
        T: Send + 'static,
        W: FnOnce() -> T + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        let job = Box::new(move || {
            // Nobody may be waiting any more.
            let _ = reply.send(catch_unwind(AssertUnwindSafe(work)).ok());
        });
        let lost = || Fault::new(ErrorClass::Internal, "planning-threads", "no planning thread is left");
        self.jobs.send(job).await.map_err(|_| lost())?;
        let answer = answer.await.map_err(|_| lost())?;
        answer.ok_or_else(|| {
            let message = "planning panicked; the log of the master has the place";
            Fault::new(ErrorClass::Internal, "planning-panic", message)
        })
    }
}

fn next(receiver: &Mutex<mpsc::Receiver<Job>>) -> Option<Job> {
    receiver.lock().unwrap_or_else(PoisonError::into_inner).blocking_recv()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn depth(left: u64) -> u64 {
        let frame = std::hint::black_box([left; 512]);
        if left == 0 { 0 } else { 1 + depth(left - 1) + std::hint::black_box(frame)[0] - left }
    }

    #[tokio::test]
    async fn a_panic_is_a_fault_and_the_threads_live_on_with_deep_stacks() {
        let compute = Compute::start(1);
        let fault = compute.run(|| panic!("on purpose")).await.map(|(): ()| ()).unwrap_err();
        assert_eq!(fault.code, "planning-panic");
        assert_eq!(compute.run(|| depth(4_000)).await, Ok(4_000));
    }
}
