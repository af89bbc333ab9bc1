//! Server-sent events: pages are told when to look again, instead of asking all the time. Edge.
//!
//! An event says nothing but that something has changed; what, the page finds out by fetching itself. So nobody gets
//! anything here that the page would not show.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures::Stream;
use lake_raft::Status;
use tokio::sync::{OwnedSemaphorePermit, watch};

use crate::master::Master;

/// Pages that are told at once; others ask every few seconds.
pub(crate) const MOST_LISTENERS: usize = 256;
/// Between two words to one page, while few pages listen.
const SHORTEST_PAUSE: Duration = Duration::from_secs(1);
/// How much longer that is for each page that listens: what all of them fetch together stays bounded.
const PAUSE_PER_LISTENER: Duration = Duration::from_millis(50);
/// Figures of workers and times that pass are looked at again after this time, whatever happens.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// A page that listens.
struct Listening {
    master: Arc<Master>,
    status: watch::Receiver<Status>,
    _place: OwnedSemaphorePermit,
}

pub(super) async fn stream(State(master): State<Arc<Master>>) -> Response {
    let Ok(place) = Arc::clone(&master.listeners).try_acquire_owned() else {
        return (StatusCode::SERVICE_UNAVAILABLE, "too many pages listen; ask again for the page\n").into_response();
    };
    let mut status = master.raft.watch();
    status.mark_unchanged();
    let words = words(Listening { master, status, _place: place });
    Sse::new(words).keep_alive(KeepAlive::default()).into_response()
}

fn words(listening: Listening) -> impl Stream<Item = Result<Event, Infallible>> {
    futures::stream::unfold(listening, |mut listening| async move {
        listening.changed().await?;
        // An event without data is none.
        Some((Ok(Event::default().event("change").data("look again")), listening))
    })
}

impl Listening {
    /// Waits until the page should look again; `None` when the master stops.
    async fn changed(&mut self) -> Option<()> {
        let stop = self.master.stop.clone();
        tokio::select! {
            () = stop.cancelled() => return None,
            () = tokio::time::sleep(self.pause()) => {}
        }
        // That it ends is news too: the next reign has other pages.
        let mut reigns = self.master.reigns();
        let reign = Arc::clone(&reigns.borrow_and_update());
        let mut progress = reign.progress.watch();
        progress.mark_unchanged();
        tokio::select! {
            () = stop.cancelled() => None,
            changed = self.status.changed() => changed.ok(),
            _ = progress.changed() => Some(()),
            _ = reigns.changed() => Some(()),
            () = tokio::time::sleep(LONGEST_PAUSE) => Some(()),
        }
    }

    /// Others who listen make it longer.
    fn pause(&self) -> Duration {
        let listening = MOST_LISTENERS.saturating_sub(self.master.listeners.available_permits());
        let listening = u32::try_from(listening).unwrap_or(u32::MAX);
        SHORTEST_PAUSE.max(PAUSE_PER_LISTENER.saturating_mul(listening))
    }
}
