use super::*;
use crate::fixture::{fault, summary};
use crate::sound::{HOSTILE, assert_sound};

fn drawn(state: &str, tail: Result<&Tail, &Fault>) -> String {
    let summary = ApplicationSummary { app_id: "app-1".to_owned(), ..summary(state) };
    let page = logs(&Logs { summary: &summary, stream: "stderr", tail });
    assert_eq!(page.freshness, Freshness::Log, "the script appends, and nothing may put it back");
    let page = page.body.into_string();
    assert_sound(&page);
    page
}

#[test]
fn the_end_of_a_log_is_shown_with_where_it_goes_on() {
    let tail = Tail { content: format!("{HOSTILE}\nsecond"), offset: 2_048, end: 2_148 };
    let page = drawn("RUNNING", Ok(&tail));
    for expected in [
        "data-next=\"2148\"",
        "data-over=\"false\"",
        "data-source=\"/applications/app-1/logs/text?stream=stderr\"",
        "href=\"/applications/app-1/logs/text?stream=stderr&amp;download=1\"",
        "Not shown before this: 2.0 KiB.",
        "<a href=\"/applications/app-1/logs?stream=stderr\" aria-current=\"page\">stderr</a>",
        "&amp;/../\nsecond</pre>",
        "<label class=\"follow\" hidden>",
    ] {
        assert!(page.contains(expected), "{expected} is not in {page}");
    }
    let whole = Tail { content: String::new(), offset: 0, end: 0 };
    let page = drawn("FINISHED", Ok(&whole));
    assert!(page.contains("data-over=\"true\"") && !page.contains("Not shown before"), "{page}");
}

#[test]
fn a_log_that_is_gone_says_why() {
    let page = drawn("FAILED", Err(&fault()));
    assert!(page.contains("class=\"failure\"") && !page.contains("<pre class=\"log\""), "{page}");
}

#[test]
fn a_place_in_a_log_is_a_number() {
    let asked = |value: &str| offset_of(&Asked::new(vec![("offset".to_owned(), value.to_owned())]));
    assert_eq!([asked("81920"), asked("")], [Ok(81_920), Ok(0)]);
    for bad in ["-1", "1e3", "99999999999999999999999", "x"] {
        assert!(asked(bad).is_err(), "{bad}");
    }
}

#[test]
fn a_stream_has_a_name_and_never_a_path() {
    let asked = |value: &str| stream_of(&Asked::new(vec![("stream".to_owned(), value.to_owned())]));
    assert_eq!(asked("STDERR"), Ok("stderr"));
    assert_eq!(stream_of(&Asked::default()), Ok("stdout"));
    for path in ["../stdout", "stdout/", "/etc/passwd", "..%2f", "stdout\0"] {
        assert!(asked(path).is_err(), "{path}");
    }
}
