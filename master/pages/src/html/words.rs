//! Figures, moments, states and failures as people read them. Pure.

use std::time::Duration;

use lake_proto::{ErrorClass, Fault, quantity};

use super::{Html, element, text, under};

/// A state as a coloured badge. The colour repeats what the word says.
pub(crate) fn badge(state: &str) -> Html {
    let class = match state {
        "RUNNING" | "COMMITTING" => "badge run",
        "FINISHED" | "COMMITTED" | "ALIVE" | "SUCCESS" | "leader" => "badge good",
        "FAILED" | "ERROR" | "LOST" => "badge bad",
        "RELAUNCHING" | "KILLING" | "DRAINING" | "UNKNOWN" | "FENCED" | "no quorum" => "badge warn",
        _ => "badge",
    };
    // NOT_RUN in words.
    element("span", &[("class", class)], &[text(state.replace('_', " "))])
}

/// A failure, with all that its reader needs.
pub(crate) fn failure(fault: &Fault) -> Html {
    let class = element("strong", &[], &[text(fault.class.name())]);
    let code = element("code", &[], &[text(&fault.code)]);
    let head = element("div", &[], &[class, text(" · "), code]);
    element("div", &[("class", "failure")], &[head, element("pre", &[], &[text(&fault.message)])])
}

/// Why something ended, beside what ended. What was killed on request has not failed: it is told in soft words.
pub(crate) fn cause(fault: &Fault) -> Html {
    if is_on_request(fault) { under("soft small wrap", text(&fault.message)) } else { failure(fault) }
}

/// Whether somebody wanted it.
pub(crate) fn is_on_request(fault: &Fault) -> bool {
    fault.class == ErrorClass::Cancelled
}

/// Milliseconds as people read them.
pub(crate) fn duration(ms: u64) -> String {
    quantity::duration(Duration::from_millis(ms))
}

/// `4.0 s ago`.
pub(crate) fn ago(at_ms: u64, now_ms: u64) -> String {
    format!("{} ago", duration(now_ms.saturating_sub(at_ms)))
}

/// `2026-11-21 09:30:12` in UTC, for programs too; a dash for 0.
pub(crate) fn instant(at_ms: u64) -> Html {
    let at = i64::try_from(at_ms).ok().filter(|at| *at > 0).and_then(chrono::DateTime::from_timestamp_millis);
    let Some(at) = at else { return dash() };
    let exact = at.format("%Y-%m-%dT%H:%M:%SZ").to_string();
    let shown = at.format("%Y-%m-%d %H:%M:%S").to_string();
    element("time", &[("datetime", &exact), ("class", "nowrap")], &[text(shown)])
}

/// Text that stays on one line.
pub(crate) fn nowrap(content: impl AsRef<str>) -> Html {
    element("span", &[("class", "nowrap")], &[text(content)])
}

/// What is not known, or does not apply.
pub(crate) fn dash() -> Html {
    text("–")
}

/// `1,234,567`.
pub(crate) fn number(figure: impl TryInto<u64>) -> Html {
    text(quantity::count(figure.try_into().unwrap_or(u64::MAX)))
}

/// `1.5 KiB` on one line.
pub(crate) fn quantity_of_bytes(figure: u64) -> Html {
    nowrap(quantity::bytes(figure))
}

/// What there is, or a dash.
pub(crate) fn optional<T>(figure: Option<T>, shown: impl FnOnce(T) -> Html) -> Html {
    figure.map_or_else(dash, shown)
}

/// `part` of `whole` in per cent: `0 %`, `< 0.1 %`, `12.3 %`, `100 %`.
pub(crate) fn share(part: u64, whole: u64) -> String {
    let tenths = u128::from(part) * 1_000 / u128::from(whole.max(1));
    match (part, tenths) {
        (0, _) => "0 %".to_owned(),
        (_, 0) => "< 0.1 %".to_owned(),
        (_, 1_000..) if part >= whole => "100 %".to_owned(),
        (_, tenths) => format!("{}.{} %", tenths / 10, tenths % 10),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_readable() {
        assert_eq!([duration(350), duration(125_000)], ["350 ms", "2 min 05 s"]);
        assert_eq!(instant(0), text("–"));
        let expected = "<time datetime=\"2026-11-21T09:30:12Z\" class=\"nowrap\">2026-11-21 09:30:12</time>";
        assert_eq!(instant(1_795_253_412_000).into_string(), expected);
        assert_eq!(instant(u64::MAX), text("–"));
        assert_eq!(ago(1_000, 5_000), "4.0 s ago");
    }

    #[test]
    fn a_kill_on_request_is_no_failure() {
        let killed = cause(&Fault::new(ErrorClass::Cancelled, "killed", "killed on <request>")).into_string();
        assert_eq!(killed, "<div class=\"soft small wrap\">killed on &lt;request&gt;</div>");
        let failed = cause(&Fault::new(ErrorClass::DataQuality, "expectation", "3 rows")).into_string();
        assert!(failed.contains("class=\"failure\""), "{failed}");
    }

    #[test]
    fn shares_are_never_rounded_to_nothing_or_to_all() {
        let shares = [(0, 5), (1, 100_000), (123, 1_000), (9_999, 10_000), (5, 5), (3, 0)].map(|(a, b)| share(a, b));
        assert_eq!(shares, ["0 %", "< 0.1 %", "12.3 %", "99.9 %", "100 %", "100 %"]);
    }
}
