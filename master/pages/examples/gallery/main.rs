//! Writes every page with made-up records as HTML files, so that they can be looked at without a cluster:
//! `cargo run -p lake-pages --example gallery -- FOLDER`, then open `FOLDER/index.html`.

mod cluster;
mod jobs;
mod queries;
mod runs;

use std::error::Error;
use std::fs;
use std::path::Path;

use lake_pages::{Asked, Masthead, Page, Standing};

/// What all pages take for now: 2026-11-21 09:30:12 UTC.
pub(crate) const NOW_MS: u64 = 1_795_253_412_000;

/// A page, where a master serves it, and the name of its file.
pub(crate) struct Shown {
    pub(crate) path: String,
    pub(crate) file: String,
    pub(crate) page: Page,
    pub(crate) masthead: Masthead,
}

/// Nothing behind the `?`, or these pairs.
pub(crate) fn asked(pairs: &[(&str, &str)]) -> Asked {
    Asked::new(pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect())
}

pub(crate) fn leader() -> Masthead {
    let leader = Some("h1:7077".to_owned());
    Masthead { id: 1, standing: Standing::Leader, term: 4, relay_id: None, leader, now_ms: NOW_MS }
}

pub(crate) fn shown(path: impl Into<String>, file: &str, page: Page) -> Shown {
    Shown { path: path.into(), file: format!("{file}.html"), page, masthead: leader() }
}

fn main() -> Result<(), Box<dyn Error>> {
    let folder = std::env::args_os().nth(1).ok_or("give the folder to write to")?;
    let folder = Path::new(&folder);
    fs::create_dir_all(folder)?;
    for asset in lake_pages::assets() {
        fs::write(folder.join(asset.path.trim_start_matches('/')), asset.content)?;
    }
    let mut pages = cluster::pages();
    pages.extend(runs::pages());
    let mut index = String::from("<!doctype html><meta charset=\"utf-8\"><title>Gallery</title><ul>");
    for shown in &pages {
        let document = with_links_to_files(shown.page.document(&shown.masthead), &pages);
        println!("{:>9} bytes {}", document.len(), shown.file);
        fs::write(folder.join(&shown.file), document)?;
        index.push_str(&format!("<li><a href=\"{0}\">{0}</a></li>", shown.file));
    }
    index.push_str("</ul>");
    fs::write(folder.join("index.html"), index)?;
    Ok(())
}

/// There is no server behind the files: links lead to files, and nothing is fetched again.
fn with_links_to_files(document: String, pages: &[Shown]) -> String {
    let mut document = document.replace("data-live=\"events\"", "data-live=\"off\"");
    for shown in pages {
        let path = shown.path.replace('&', "&amp;");
        for end in ["\"", "#"] {
            document = document.replace(&format!("href=\"{path}{end}"), &format!("href=\"{}{end}", shown.file));
        }
    }
    for asset in lake_pages::assets() {
        let (served, file) = (format!("=\"{}\"", asset.path), format!("=\"{}\"", asset.path.trim_start_matches('/')));
        document = document.replace(&served, &file);
    }
    document
}
