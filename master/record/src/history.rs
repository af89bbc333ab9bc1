//! What is known of the files of a history directory: which there are, what lists need of each, which cannot be read, and
//! which have been kept long enough. Pure: the directory is listed and read elsewhere.
//!
//! Summaries of all files are kept, and steps of the newest up to a bound; queries never.

mod filter;
mod retention;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use lake_proto::AppId;

use crate::application::{ApplicationRecord, ApplicationSummary, Origin};
use crate::file::{EXTENSION, Unreadable};
use crate::step::StepRecord;

pub use self::filter::SummaryFilter;
pub use self::retention::Retention;

/// Bytes of steps, as JSON, that are kept of all files together: of the newest applications.
pub const STEPS_BYTES: usize = 64 << 20;

const DAMAGED: &str = "cut off or damaged: what stands before the damage can be read";

const NO_FILE: &str = "no history file: it is a folder, a link or a pipe, not a regular file";

/// A file as its directory lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Its name in the directory.
    pub name: String,
    /// Its size.
    pub bytes: u64,
    /// When it was written.
    pub modified_ms: u64,
    /// Whether it has content of its own: a folder, a link, a pipe or a device has none, and is never opened.
    pub is_regular: bool,
}

/// An application of the history, without its queries.
#[derive(Debug, PartialEq)]
pub struct Told {
    /// The file that has all of it.
    pub name: String,
    /// As lists show it.
    pub summary: Arc<ApplicationSummary>,
    /// Its steps; none when it is too old for that, see [`STEPS_BYTES`].
    pub steps: Arc<[StepRecord]>,
}

/// The files of one directory.
#[derive(Debug)]
pub struct Index {
    files: BTreeMap<String, File>,
    /// The last one that ended first.
    told: BTreeMap<Place, Arc<Told>>,
    /// By application, driver and submission id.
    places: BTreeMap<String, Place>,
    /// How much steps take, of those that are kept.
    with_steps: BTreeMap<Place, usize>,
    steps_bytes: usize,
    most_steps_bytes: usize,
    /// Grows with every change.
    clock: u64,
}

/// Where an application stands in lists: by its end, then by its id.
type Place = Reverse<(u64, String)>;

#[derive(Debug)]
struct File {
    listed: Listed,
    since: u64,
    content: Content,
}

#[derive(Debug)]
enum Content {
    Unread,
    Told { place: Place, is_damaged: bool },
    Unreadable { why: String },
}

/// A moment in the life of an [`Index`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment(u64);

impl Default for Index {
    fn default() -> Self {
        Self::with_room(STEPS_BYTES)
    }
}

impl Index {
    /// Of no file. Steps are kept up to these bytes.
    pub fn with_room(most_steps_bytes: usize) -> Self {
        Self {
            files: BTreeMap::new(),
            told: BTreeMap::new(),
            places: BTreeMap::new(),
            with_steps: BTreeMap::new(),
            steps_bytes: 0,
            most_steps_bytes,
            clock: 0,
        }
    }

    /// Now. To be taken before a directory is listed.
    pub const fn moment(&self) -> Moment {
        Moment(self.clock)
    }

    /// The directory has these files, as listed since `began`: others are forgotten, unless they were found or written
    /// meanwhile. Those that are new or have changed, to be read, the newest first.
    pub fn listed(&mut self, began: Moment, files: Vec<Listed>) -> Vec<Listed> {
        let names: BTreeSet<&str> = files.iter().map(|file| file.name.as_str()).collect();
        let is_gone = |name: &str, file: &File| !names.contains(name) && file.since <= began.0;
        let gone: Vec<String> =
            self.files.iter().filter(|(name, file)| is_gone(name, file)).map(|(name, _)| name.clone()).collect();
        for name in gone {
            self.forget(&name);
        }
        let mut unread = Vec::new();
        for listed in files {
            // What was found meanwhile is known better than the listing knows it.
            let is_read = |file: &File| file.listed == listed && !matches!(file.content, Content::Unread);
            if self.files.get(&listed.name).is_some_and(|file| is_read(file) || file.since > began.0) {
                continue;
            }
            if !listed.is_regular {
                self.put(listed, Content::Unreadable { why: NO_FILE.to_owned() });
            } else if listed.name.ends_with(EXTENSION) {
                self.put(listed.clone(), Content::Unread);
                unread.push(listed);
            } else {
                let why = format!("no history file: its name does not end in {EXTENSION}");
                self.put(listed, Content::Unreadable { why });
            }
        }
        // Ids begin with the time of the submission.
        unread.sort_by(|one, other| other.name.cmp(&one.name));
        unread
    }

    /// A file was read, at least up to its queries, or written.
    pub fn found(&mut self, file: Listed, content: Result<ApplicationRecord, Unreadable>) {
        let checked = content.map_err(|error| error.to_string()).and_then(|record| self.check(&file.name, record));
        match checked {
            Ok(record) => self.tell(file, record),
            Err(why) => self.put(file, Content::Unreadable { why }),
        }
    }

    /// A whole read has found that not all of a file can be read. It stays in lists with what was read of it.
    pub fn found_damaged(&mut self, name: &str) {
        if let Some(File { content: Content::Told { is_damaged, .. }, .. }) = self.files.get_mut(name) {
            *is_damaged = true;
        }
    }

    /// A file is not there any more.
    pub fn forget(&mut self, name: &str) {
        let Some(file) = self.files.remove(name) else { return };
        self.clock += 1;
        if let Content::Told { place, .. } = file.content {
            self.untell(&place);
        }
    }

    /// The application with this application, driver or submission id.
    pub fn find(&self, id: &str) -> Option<&Arc<Told>> {
        self.told.get(self.places.get(id)?)
    }

    /// All applications, the last one that ended first.
    pub fn newest(&self) -> impl Iterator<Item = &Arc<Told>> {
        self.told.values()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.told.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.told.is_empty()
    }

    /// Files that cannot be read, or not wholly: name and why.
    pub fn unreadable(&self) -> impl Iterator<Item = (&str, &str)> {
        self.files.iter().filter_map(|(name, file)| match &file.content {
            Content::Unreadable { why } => Some((name.as_str(), why.as_str())),
            Content::Told { is_damaged: true, .. } => Some((name.as_str(), DAMAGED)),
            Content::Told { is_damaged: false, .. } | Content::Unread => None,
        })
    }

    /// Whether the file of an application is there, read or not. One that cannot be read is there too: it is not ours to
    /// replace.
    pub fn has_file(&self, app: &AppId) -> bool {
        self.files.contains_key(&name_of(app.as_str()))
    }

    /// Names of files that have been kept long enough. Those that cannot be read are left alone: a newer release may.
    pub fn expired(&self, retention: &Retention, now_ms: u64) -> Vec<String> {
        let told = self.told.iter().enumerate();
        let is_over = |(rank, (Reverse((ended_at_ms, _)), _)): &(usize, (&Place, &Arc<Told>))| {
            !retention.keeps(*rank, *ended_at_ms, now_ms)
        };
        told.filter(is_over).map(|(_, (_, told))| told.name.clone()).collect()
    }

    /// Whether a file of an application that ended then would be kept if it were written now.
    pub fn would_keep(&self, ended_at_ms: u64, retention: &Retention, now_ms: u64) -> bool {
        let newer = self.told.range(..Reverse((ended_at_ms, String::new()))).take(retention.most).count();
        retention.keeps(newer, ended_at_ms, now_ms)
    }

    fn check(&self, name: &str, record: ApplicationRecord) -> Result<ApplicationRecord, String> {
        let app = &record.summary.app_id;
        if app.parse::<AppId>().is_err() || name != name_of(app) {
            return Err(format!("it tells of '{}' and has another name", app.chars().take(128).collect::<String>()));
        }
        if record.summary.is_over() { Ok(record) } else { Err(format!("{app} has not ended in it")) }
    }

    fn tell(&mut self, file: Listed, record: ApplicationRecord) {
        let ApplicationRecord { summary, steps, origin, .. } = record;
        let place = Reverse((summary.ended_at_ms, summary.app_id.clone()));
        let is_damaged = origin == Origin::Damaged;
        let told = Told { name: file.name.clone(), summary: Arc::new(summary), steps: steps.into() };
        self.put(file, Content::Told { place: place.clone(), is_damaged });
        for id in ids(&told.summary) {
            self.places.insert(id.to_owned(), place.clone());
        }
        let weight = weight(&told.steps);
        if weight > 0 {
            self.with_steps.insert(place.clone(), weight);
            self.steps_bytes += weight;
        }
        self.told.insert(place, Arc::new(told));
        while self.steps_bytes > self.most_steps_bytes {
            let Some((oldest, weight)) = self.with_steps.pop_last() else { return };
            self.steps_bytes -= weight;
            if let Some(told) = self.told.get_mut(&oldest) {
                let Told { name, summary, .. } = told.as_ref();
                *told = Arc::new(Told { name: name.clone(), summary: Arc::clone(summary), steps: Arc::default() });
            }
        }
    }

    fn untell(&mut self, place: &Place) {
        let Some(told) = self.told.remove(place) else { return };
        self.steps_bytes -= self.with_steps.remove(place).unwrap_or(0);
        for id in ids(&told.summary) {
            if self.places.get(id) == Some(place) {
                self.places.remove(id);
            }
        }
    }

    fn put(&mut self, listed: Listed, content: Content) {
        self.forget(&listed.name);
        self.clock += 1;
        let name = listed.name.clone();
        self.files.insert(name, File { listed, since: self.clock, content });
    }
}

/// The name of an application's file.
pub fn name_of(app: &str) -> String {
    format!("{app}{EXTENSION}")
}

fn ids(summary: &ApplicationSummary) -> impl Iterator<Item = &str> {
    [&summary.app_id, &summary.driver_id, &summary.submission_id].into_iter().map(String::as_str)
}

/// About the memory that steps take.
fn weight(steps: &[StepRecord]) -> usize {
    if steps.is_empty() { 0 } else { serde_json::to_vec(steps).map_or(usize::MAX / 4, |bytes| bytes.len()) }
}

#[cfg(test)]
mod tests;
