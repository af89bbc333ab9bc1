//! What runs read and wrote, as OpenLineage events (https://openlineage.io, specification 2-0-2). Edge: sends them.
//!
//! Rooms: `event` (what is told, and its JSON), `names` (how data sets are called, so that other tools mean the same thing by
//! it). Never here: what a plan reads, which the engine knows.

mod event;
mod names;

use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

pub use self::event::{
    Assertion, Column, ColumnLineage, DataSet, Event, Job, JobKind, Moment, Origin, Output, Parent, Run, Statistics,
    Transformation,
};
pub use self::names::{DataSetName, of_postgres, of_url, run_id};
use crate::config;
use crate::post::{self, Address, Habits, Http, Post, Receipt, Slot};

/// In the order in which they come: a catalogue may take the last one for the state.
const HABITS: Habits =
    Habits { name: "lake-lineage", goods: "lineage events", bound: 1_024, batch: 1, linger: Duration::ZERO };

/// Where events go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Destination {
    /// A catalogue.
    Http {
        address: Address,
        /// Of the jobs.
        namespace: String,
    },
    /// One line for each event, at the end of this file.
    File {
        path: PathBuf,
        /// Of the jobs.
        namespace: String,
    },
}

/// Sends events.
#[derive(Debug)]
pub struct Lineage {
    slot: Slot<Vec<u8>>,
    namespace: String,
    post: Post,
}

/// The catalogue that a run is told to, if any. Dropping it waits a moment for what is under way.
#[derive(Debug)]
pub struct Catalogue(Option<Arc<Lineage>>);

impl Catalogue {
    /// As the environment says: none when it names neither a URL nor a file, or what it names cannot be used, which is
    /// logged and fails nothing.
    pub fn of_environment() -> Self {
        let destination = config::lineage().unwrap_or_else(|why| {
            tracing::warn!("no lineage is told: {why}");
            None
        });
        Self(destination.map(|destination| Arc::new(Lineage::start(destination))))
    }

    /// Who sends events, when there is somebody to be told.
    pub fn lineage(&self) -> Option<Arc<Lineage>> {
        self.0.clone()
    }

    /// Waits a moment for the events under way; later ones are dropped.
    pub async fn close(mut self) {
        if let Some(lineage) = self.0.take() {
            // It blocks its thread. A failure would only mean that nobody waits.
            let _ = tokio::task::spawn_blocking(move || lineage.post.close()).await;
        }
    }
}

impl Drop for Catalogue {
    fn drop(&mut self) {
        if let Some(lineage) = &self.0 {
            lineage.post.close();
        }
    }
}

impl Lineage {
    /// Hands an event over. Never waits and never fails.
    pub fn emit(&self, event: &Event) {
        self.slot.put(event.to_json(&self.namespace).to_string().into_bytes());
    }

    fn start(destination: Destination) -> Self {
        match destination {
            Destination::File { path, namespace } => {
                let (slot, post) = post::start(HABITS, move |events: Vec<Vec<u8>>| {
                    let written = append(&path, &events);
                    async move { written }
                });
                Self { slot, namespace, post }
            }
            Destination::Http { address, namespace } => {
                let http = Arc::new(Http::new(address));
                let (slot, post) = post::start(HABITS, move |events: Vec<Vec<u8>>| {
                    let http = http.clone();
                    async move {
                        for event in events {
                            http.post(event).await?;
                        }
                        Ok(Receipt::default())
                    }
                });
                Self { slot, namespace, post }
            }
        }
    }
}

/// Each event in one write, so that several drivers may share a file.
fn append(path: &Path, events: &[Vec<u8>]) -> post::Delivered {
    let write = || -> std::io::Result<()> {
        let mut file = OpenOptions::new().create(true).append(true).open(path)?;
        for event in events {
            let mut line = event.clone();
            line.push(b'\n');
            file.write_all(&line)?;
        }
        Ok(())
    };
    write().map(|()| Receipt::default()).map_err(|error| format!("{}: {error}", path.display()))
}

#[cfg(test)]
mod tests;
