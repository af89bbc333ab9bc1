//! The pages of masters: functions from records to HTML. Pure.
//!
//! Each page is a function from values to a [`Page`]; [`Page::document`] puts head and navigation around it. Rooms:
//! `html` (pieces that escape), `link` (where pages are), `asked` (what stands behind the `?`), `frame` (what is around
//! every page), `layout` and `draw` (graphs and charts as SVG), and one room per page.
//!
//! Never here: where values come from, and clocks. Nothing is written into a page that its content security policy would
//! not let take effect: places and lengths are attributes of SVG, never styles.
#![warn(missing_docs)]
#![cfg_attr(not(test), deny(clippy::indexing_slicing))]

mod application;
mod asked;
mod assets;
mod cluster;
mod draw;
mod environment;
#[cfg(test)]
mod fixture;
mod frame;
mod history;
mod html;
mod job_text;
mod layout;
mod link;
mod logs;
mod masthead;
mod query;
#[cfg(test)]
mod sound;
mod tables;
mod worker;

pub use application::{Application, TOKEN_FIELD, application};
pub use asked::{Asked, Bad, Window};
pub use assets::assets;
pub use cluster::{Active, Cluster, MasterLine, SHOWN, Sample, cluster};
pub use environment::{Daemon, Setting, environment, shown_value};
pub use frame::{Page, bad, missing, refused};
pub use history::{History, Wanted as WantedHistory, history};
pub use link::route;
pub use logs::{Logs, TAIL_BYTES, Tail, logs, offset_of, stream_of};
pub use masthead::{Masthead, Standing};
pub use query::{Query, Wanted as WantedAttempts, query};
pub use tables::{Wanted as WantedTables, WantedLineage, WantedTable, lineage, table, tables};
pub use worker::{RunningAttempt, Worker, running_on, worker};
