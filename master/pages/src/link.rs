//! Where pages are. Pure. Every link is made here, from ids and names that may be anything.

/// The paths that masters serve pages and what belongs to them at, in the words of the router: a part in braces stands for
/// one segment.
pub mod route {
    /// The cluster.
    pub const CLUSTER: &str = "/";
    /// One application.
    pub const APPLICATION: &str = "/applications/{id}";
    /// Ends one; a form is sent here.
    pub const KILL: &str = "/applications/{id}/kill";
    /// What its driver printed, as a page.
    pub const LOGS: &str = "/applications/{id}/logs";
    /// What its driver printed, as text.
    pub const LOG_TEXT: &str = "/applications/{id}/logs/text";
    /// One query.
    pub const QUERY: &str = "/applications/{id}/queries/{query}";
    /// One worker.
    pub const WORKER: &str = "/workers/{id}";
    /// Every table.
    pub const TABLES: &str = "/tables";
    /// One table.
    pub const TABLE: &str = "/tables/{name}";
    /// Which table comes from which.
    pub const LINEAGE: &str = "/lineage";
    /// Every application.
    pub const HISTORY: &str = "/history";
    /// What the daemons run with.
    pub const ENVIRONMENT: &str = "/environment";
    /// Server-sent events: `change` when pages may look otherwise.
    pub const EVENTS: &str = "/events";
    /// All of them.
    pub const ALL: [&str; 13] = [
        CLUSTER,
        APPLICATION,
        KILL,
        LOGS,
        LOG_TEXT,
        QUERY,
        WORKER,
        TABLES,
        TABLE,
        LINEAGE,
        HISTORY,
        ENVIRONMENT,
        EVENTS,
    ];
}

pub(crate) fn application(id: &str) -> String {
    format!("/applications/{}", segment(id))
}

pub(crate) fn kill(id: &str) -> String {
    format!("/applications/{}/kill", segment(id))
}

pub(crate) fn logs(id: &str, stream: &str) -> String {
    format!("/applications/{}/logs?stream={}", segment(id), segment(stream))
}

pub(crate) fn log_text(id: &str, stream: &str) -> String {
    format!("/applications/{}/logs/text?stream={}", segment(id), segment(stream))
}

pub(crate) fn query(app: &str, query: &str) -> String {
    format!("/applications/{}/queries/{}", segment(app), segment(query))
}

pub(crate) fn worker(id: &str) -> String {
    format!("/workers/{}", segment(id))
}

pub(crate) fn table(name: &str) -> String {
    format!("/tables/{}", segment(name))
}

/// The same page with other figures behind the `?`; what is empty is left out.
pub(crate) fn asked(path: &str, pairs: &[(&str, String)]) -> String {
    let mut href = path.to_owned();
    for (key, value) in pairs.iter().filter(|(_, value)| !value.is_empty()) {
        href.push(if href.contains('?') { '&' } else { '?' });
        href.push_str(&format!("{key}={}", segment(value)));
    }
    href
}

/// Text as one segment of a path, or one value behind the `?`.
pub(crate) fn segment(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => encoded.push(char::from(byte)),
            other => encoded.push_str(&format!("%{other:02X}")),
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_in_an_id_stays_in_its_segment() {
        assert_eq!(application("a/../b?c#d e"), "/applications/a%2F..%2Fb%3Fc%23d%20e");
        assert_eq!(table("gold.größe"), "/tables/gold.gr%C3%B6%C3%9Fe");
        assert_eq!(logs("app-1", "stderr"), "/applications/app-1/logs?stream=stderr");
    }

    #[test]
    fn what_is_asked_is_appended_and_what_is_empty_is_not() {
        let pairs = [("state", "FAILED".to_owned()), ("text", String::new()), ("offset", "a&b".to_owned())];
        assert_eq!(asked("/history", &pairs), "/history?state=FAILED&offset=a%26b");
        assert_eq!(asked("/x?a=1", &[("b", "2".to_owned())]), "/x?a=1&b=2");
    }
}
