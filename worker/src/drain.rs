//! Whether this worker drains: it takes nothing new and leaves when nothing of it is needed. Pure but for the tokens.
//!
//! Who begins it (a signal, the master) and who ends it (the master, the deadline, a second signal) do not know each
//! other. Never here: what is still needed, which only the leading master knows.

use tokio_util::sync::CancellationToken;

/// Begun once, released once. Cheap to clone; all clones are the same.
#[derive(Debug, Clone, Default)]
pub struct Drain {
    begun: CancellationToken,
    released: CancellationToken,
}

impl Drain {
    /// From now on nothing new is taken. A repeat changes nothing.
    pub fn begin(&self) {
        self.begun.cancel();
    }

    /// Whether nothing new is taken.
    pub fn has_begun(&self) -> bool {
        self.begun.is_cancelled()
    }

    /// Ends when nothing new is taken any more.
    pub async fn begun(&self) {
        self.begun.cancelled().await;
    }

    /// Nothing that this worker runs or holds is needed. Changes nothing unless the worker drains.
    pub fn release(&self) {
        if self.has_begun() {
            self.released.cancel();
        }
    }

    /// Ends when the worker may leave.
    pub async fn released(&self) {
        self.released.cancelled().await;
    }
}
