//! How long a call is tried again while its store refuses or cannot be reached. Pure.
//!
//! Only what may pass is tried again: 5xx, throttling, connections that are refused or break. A missing bucket or object
//! and refused credentials are answers. docs/operations.md has the sums over launches and attempts.

use std::time::Duration;

use object_store::{BackoffConfig, RetryConfig};

/// The first pause; those that follow are drawn from between it and [`GROWTH`] times the one before.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
/// Large, so that nearly every pause after the second is the longest one, and the sum of all is known to within a few
/// seconds in spite of the jitter.
const GROWTH: f64 = 10.0;

/// Whose calls they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Patience {
    /// A driver's: about 20 s a call. What it gives up costs it a launch.
    #[default]
    Long,
    /// A task's: about 7 s a call. It frees its core and is tried again, elsewhere and later. Also that of commands for
    /// whose answer somebody waits.
    Short,
}

impl Patience {
    /// Its calls' retries. A store that takes a request and does not answer ends it after 30 s, whoever calls; that is
    /// tried once more.
    pub(super) fn retry(self) -> RetryConfig {
        let (max_retries, longest_ms, retry_timeout_s) = match self {
            Self::Long => (12, 2_000, 60),
            Self::Short => (7, 1_200, 40),
        };
        let longest = Duration::from_millis(longest_ms);
        let backoff = BackoffConfig { init_backoff: FIRST_PAUSE, max_backoff: longest, base: GROWTH };
        RetryConfig { backoff, max_retries, retry_timeout: Duration::from_secs(retry_timeout_s) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All pauses of a call together, where the jitter makes every one as long as it may: most calls come near it.
    fn pauses(patience: Patience) -> Duration {
        let retry = patience.retry();
        let others = u32::try_from(retry.max_retries).unwrap() - 1;
        retry.backoff.init_backoff + retry.backoff.max_backoff * others
    }

    #[test]
    fn a_driver_bears_a_store_that_restarts_and_a_task_gives_its_core_back_soon() {
        let (driver, task) = (pauses(Patience::Long), pauses(Patience::Short));
        assert!((Duration::from_secs(20)..Duration::from_secs(25)).contains(&driver), "{driver:?}");
        assert!((Duration::from_secs(5)..Duration::from_secs(8)).contains(&task), "{task:?}");
        for patience in [Patience::Long, Patience::Short] {
            // Else the count of retries would not be what ends them.
            assert!(pauses(patience) < patience.retry().retry_timeout);
        }
    }
}
