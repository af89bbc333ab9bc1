//! What the daemons run with: their versions, and each setting with where it comes from. Pure.

use std::collections::BTreeMap;

use lake_proto::v1::EffectiveSetting;

use crate::frame::{Page, Place};
use crate::html::Column::Text;
use crate::html::{Html, element, empty, heading, span, table, text};
use crate::job_text::without_password;

/// Parts of names whose values are nobody's business. No setting of ours is a secret; one that becomes it is not shown.
const SECRET: [&str; 5] = ["secret", "password", "token", "credential", "access_key"];

/// A daemon, as the masters know it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Daemon {
    /// `master 1`, `worker-…`.
    pub name: String,
    /// Its version; empty when it has not told it.
    pub version: String,
    /// Its settings; empty when it has not told them.
    pub settings: Vec<Setting>,
}

/// One setting that is in effect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting {
    /// As in the file of `--config`.
    pub key: String,
    /// As that file would have it.
    pub value: String,
    /// default, file, environment or flag.
    pub origin: String,
}

impl From<EffectiveSetting> for Setting {
    fn from(setting: EffectiveSetting) -> Self {
        Self { key: setting.key, value: setting.value, origin: setting.origin }
    }
}

/// The page. Daemons come in the order in which they are to be shown.
pub fn environment(daemons: &[Daemon]) -> Page {
    let mut body = vec![element("h1", &[], &[text("Environment")]), versions(daemons)];
    if daemons.is_empty() {
        body.push(empty("No daemon is known."));
    }
    for (index, daemon) in daemons.iter().enumerate() {
        body.push(section_of(index, daemon));
    }
    Page::top("Environment".to_owned(), Place::Environment, body.into_iter().collect())
}

/// Different versions in one cluster are worth a word.
fn versions(daemons: &[Daemon]) -> Html {
    let mut by_version: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for daemon in daemons.iter().filter(|daemon| !daemon.version.is_empty()) {
        by_version.entry(&daemon.version).or_default().push(&daemon.name);
    }
    match by_version.len() {
        0 => Html::default(),
        1 => {
            let version = by_version.keys().next().copied().unwrap_or_default();
            element("p", &[("class", "soft")], &[text(format!("All daemons have version {version}."))])
        }
        _ => {
            let each = by_version.iter().map(|(version, names)| format!("{version}: {}", names.join(", ")));
            let words = format!("The daemons have different versions. {}.", each.collect::<Vec<_>>().join("; "));
            element("p", &[("class", "notice")], &[text(words)])
        }
    }
}

fn section_of(index: usize, daemon: &Daemon) -> Html {
    let mut rows = Vec::new();
    let mut settings: Vec<&Setting> = daemon.settings.iter().collect();
    settings.sort_by(|one, other| one.key.cmp(&other.key));
    for setting in settings {
        let class = if setting.origin == "default" { "badge" } else { "badge run" };
        rows.push(vec![
            span("mono", &setting.key),
            span("mono wrap", shown_value(&setting.key, &setting.value)),
            span(class, &setting.origin),
        ]);
    }
    let columns = [Text("Setting"), Text("Value"), Text("From")];
    let remark = if daemon.version.is_empty() { String::new() } else { format!("version {}", daemon.version) };
    let body = table(&daemon.name, &columns, rows, "It has not told what it runs with.");
    element("section", &[("id", &format!("daemon-{}", index + 1))], &[heading(&daemon.name, remark), body])
}

/// The value as anybody may see it.
pub fn shown_value(key: &str, value: &str) -> String {
    let key = key.to_ascii_lowercase();
    if SECRET.iter().any(|part| key.contains(part)) {
        return "(not shown)".to_owned();
    }
    without_password(value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sound::{HOSTILE, assert_sound};

    fn daemon(name: &str, version: &str) -> Daemon {
        let setting = |key: &str, value: &str, origin: &str| Setting {
            key: key.to_owned(),
            value: value.to_owned(),
            origin: origin.to_owned(),
        };
        let settings = vec![
            setting("port", "7077", "default"),
            setting("history_dir", "\"s3://ann:TOPSECRET@h/history\"", "flag"),
            setting("store_password", "TOPSECRET", "file"),
            setting(HOSTILE, HOSTILE, HOSTILE),
        ];
        Daemon { name: name.to_owned(), version: version.to_owned(), settings }
    }

    #[test]
    fn settings_are_shown_with_their_origin_and_secrets_never() {
        let page = environment(&[daemon(HOSTILE, HOSTILE)]).body.into_string();
        assert_sound(&page);
        for expected in ["All daemons have version &lt;img", ">7077<", ">flag<", "ann:…@h/history", "(not shown)"] {
            assert!(page.contains(expected), "{expected} is not in {page}");
        }
        assert!(!page.contains("TOPSECRET"), "{page}");
        let places: Vec<_> =
            ["history_dir", "port", "store_password"].map(|key| page.find(&format!(">{key}<")).unwrap()).to_vec();
        assert!(places.is_sorted(), "settings are not in the order of their names: {page}");
    }

    #[test]
    fn different_versions_are_told() {
        let page = environment(&[daemon("master 1", "0.1.0"), daemon("worker-1", "0.2.0")]).body.into_string();
        assert!(page.contains("different versions. 0.1.0: master 1; 0.2.0: worker-1."), "{page}");
        let silent = Daemon { name: "master 2".to_owned(), version: String::new(), settings: Vec::new() };
        let page = environment(&[silent]).body.into_string();
        assert!(page.contains("has not told what it runs with"), "{page}");
    }
}
