//! Paths of job.toml as absolute URLs: `file://` or `s3://`. Pure: nothing is looked up on disk.

use std::path::{Component, Path, PathBuf};

use url::Url;

/// The absolute URL of `text`: a URL, or a path relative to `folder`. A trailing slash stays.
///
/// # Errors
/// What was expected, when it can be neither.
pub(crate) fn resolve(text: &str, folder: &Path) -> Result<String, String> {
    if text.trim().is_empty() {
        return Err("expected a path or URL, found an empty text".to_owned());
    }
    if text.chars().any(char::is_control) {
        return Err("expected a path or URL, found one with control characters".to_owned());
    }
    match text.split_once("://") {
        Some((scheme, rest)) => url(scheme, rest, text),
        None => path(text, folder),
    }
}

fn url(scheme: &str, rest: &str, text: &str) -> Result<String, String> {
    if rest.split('/').any(|part| part == "..") {
        return Err(format!("expected a URL without '..', found '{text}'"));
    }
    let rest = rest.replace(' ', "%20").replace('?', "%3F").replace('#', "%23");
    match scheme {
        "s3" | "s3a" => {
            let bucket = rest.split('/').next().unwrap_or_default();
            let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
            if bucket.is_empty() || !bucket.chars().all(allowed) {
                return Err(format!("expected s3://bucket/path, found '{text}'"));
            }
            if !is_bucket(bucket) {
                return Err(format!("'{bucket}' is not a name of a bucket: expected {BUCKET}; found '{text}'"));
            }
            Ok(format!("s3://{rest}"))
        }
        "file" if rest.starts_with('/') => Ok(format!("file://{rest}")),
        "file" => Err(format!("expected file:///absolute/path, found '{text}'")),
        _ => Err(format!("expected a file:// or s3:// URL or a path, found '{text}'")),
    }
}

const BUCKET: &str =
    "3 to 255 letters, digits, '-', '_' and '.', not '..', beginning and ending with a letter or digit";

/// What no store takes for a name of a bucket is refused before anything runs. Some take more than others: what is left
/// is for the store to refuse.
fn is_bucket(name: &str) -> bool {
    let ends = [name.chars().next(), name.chars().next_back()];
    (3..=255).contains(&name.len())
        && ends.iter().all(|end| end.is_some_and(|end| end.is_ascii_alphanumeric()))
        && !name.contains("..")
}

fn path(text: &str, folder: &Path) -> Result<String, String> {
    let path = normal(&folder.join(text));
    let url = Url::from_file_path(&path).map_err(|()| format!("'{text}' is not an absolute path on this host"))?;
    let mut url = url.to_string();
    if text.ends_with('/') && !url.ends_with('/') {
        url.push('/');
    }
    Ok(url)
}

/// The path without `.` and `..`, by its text alone.
pub(crate) fn normal(path: &Path) -> PathBuf {
    let mut normal = PathBuf::new();
    for component in path.components() {
        match component {
            Component::CurDir => {}
            Component::ParentDir => _ = normal.pop(),
            Component::Prefix(_) | Component::RootDir | Component::Normal(_) => normal.push(component),
        }
    }
    normal
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_become_absolute_urls() {
        let folder = Path::new("/jobs/daily");
        for (text, expected) in [
            ("data/x.csv", "file:///jobs/daily/data/x.csv"),
            ("./data/", "file:///jobs/daily/data/"),
            ("../in/*.csv", "file:///jobs/in/*.csv"),
            ("/abs/a b?.csv", "file:///abs/a%20b%3F.csv"),
            ("/", "file:///"),
            ("file:///abs/x", "file:///abs/x"),
            ("s3://lake/orders/ds=2026-01-01/", "s3://lake/orders/ds=2026-01-01/"),
            ("s3a://lake/x?.csv", "s3://lake/x%3F.csv"),
        ] {
            assert_eq!(resolve(text, folder).as_deref(), Ok(expected), "{text}");
        }
        for text in
            ["", " ", "s3://", "s3:///x", "hdfs://h/x", "file://host/x", "s3://lake/../c", "a\0b", "s3://u:p@lake/x"]
        {
            assert!(resolve(text, folder).is_err(), "{text:?}");
        }
    }

    #[test]
    fn names_that_no_store_takes_for_a_bucket_are_refused() {
        let folder = Path::new("/jobs");
        for bucket in ["abc", "Old_Bucket", "a.b-c", &"x".repeat(63)] {
            assert!(resolve(&format!("s3://{bucket}/x"), folder).is_ok(), "{bucket}");
        }
        for bucket in ["ab", "-abc", "abc-", ".abc", "a..b", "_ab", &"x".repeat(256)] {
            let message = resolve(&format!("s3://{bucket}/x"), folder).unwrap_err();
            assert!(message.starts_with(&format!("'{bucket}' is not a name of a bucket")), "{message}");
        }
    }
}
