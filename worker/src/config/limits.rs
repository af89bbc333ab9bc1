//! What may be asked of a host. Pure, but for [`Host::this`].
//!
//! A worker may promise more than its host has, as in Spark: tasks that wait for a store need no core, and not every
//! driver uses the memory that it may. Far beyond that it is a slip of the pen, and the host would be brought down.

use lake_proto::host::memory_bytes;
use lake_proto::quantity::{bytes, counted};

const MOST_CORES: u32 = 4;
const MOST_MEMORY: u64 = 2;

/// What this process may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Host {
    /// Cores, of the host or of the control group. At least 1.
    pub cores: u32,
    /// Memory, of the host or of the control group; `None` when the operating system does not say.
    pub memory_bytes: Option<u64>,
}

impl Host {
    /// As the operating system says.
    pub fn this() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, |cores| u32::try_from(cores.get()).unwrap_or(1));
        Self { cores, memory_bytes: memory_bytes() }
    }

    /// Whether so much may be asked for; the sentence says what is too much of it.
    pub(super) fn check(&self, cores: u32, memory_bytes: u64) -> Result<(), String> {
        let most = self.cores.saturating_mul(MOST_CORES);
        if cores > most {
            return Err(format!("cores is {cores}: this host has {}, expected at most {most}", self.cores));
        }
        let Some(here) = self.memory_bytes else { return Ok(()) };
        let most = here.saturating_mul(MOST_MEMORY);
        if memory_bytes > most {
            let (asked, here, most) = (bytes(memory_bytes), bytes(here), bytes(most));
            return Err(format!("memory is {asked}: this host has {here}, expected at most {most}"));
        }
        Ok(())
    }

    /// What is more than the host has, in one line.
    pub fn oversubscribed(&self, cores: u32, memory_bytes: u64) -> Option<String> {
        let mut parts = Vec::new();
        if cores > self.cores {
            parts.push(format!("{}, of which this host has {}", counted(cores, "core"), self.cores));
        }
        if let Some(here) = self.memory_bytes.filter(|here| memory_bytes > *here) {
            parts.push(format!("{} of memory, of which it has {}", bytes(memory_bytes), bytes(here)));
        }
        if parts.is_empty() { None } else { Some(format!("this worker promises {}", parts.join("; and "))) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIBIBYTE: u64 = 1 << 30;
    const HOST: Host = Host { cores: 4, memory_bytes: Some(8 * GIBIBYTE) };

    #[test]
    fn more_than_the_host_has_is_said_and_far_more_is_refused() {
        for (cores, gibibytes, remark) in [
            (4, 8, None),
            (5, 8, Some("this worker promises 5 cores, of which this host has 4")),
            (4, 9, Some("this worker promises 9.0 GiB of memory, of which it has 8.0 GiB")),
            (
                16,
                16,
                Some(
                    "this worker promises 16 cores, of which this host has 4; and 16.0 GiB of memory, of which it has 8.0 GiB",
                ),
            ),
        ] {
            assert_eq!(HOST.check(cores, gibibytes * GIBIBYTE), Ok(()));
            assert_eq!(HOST.oversubscribed(cores, gibibytes * GIBIBYTE).as_deref(), remark);
        }
        let refused = |cores, memory_bytes| HOST.check(cores, memory_bytes).unwrap_err();
        assert_eq!(refused(17, GIBIBYTE), "cores is 17: this host has 4, expected at most 16");
        let expected = "memory is 20.0 GiB: this host has 8.0 GiB, expected at most 16.0 GiB";
        assert_eq!(refused(4, 20 * GIBIBYTE), expected);
    }

    #[test]
    fn a_host_that_does_not_say_its_memory_bounds_none() {
        let host = Host { memory_bytes: None, ..HOST };
        assert_eq!(host.check(4, u64::MAX), Ok(()));
        assert_eq!(host.oversubscribed(4, u64::MAX), None);
        let this = Host::this();
        assert!(this.cores > 0 && this.memory_bytes.is_some_and(|bytes| bytes > 0), "{this:?}");
    }
}
