use super::*;
use crate::fixture::summary;
use crate::sound::{ESCAPED, HOSTILE, assert_sound};

fn asked(pairs: &[(&str, &str)]) -> Result<Wanted, Bad> {
    Wanted::of(&Asked::new(pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()))
}

#[test]
fn a_thousand_applications_are_listed_with_what_cannot_be_read() {
    let wanted = asked(&[("state", "failed"), ("state", "FAILED"), ("text", HOSTILE), ("limit", "1000")]).unwrap();
    assert_eq!(wanted.states, ["FAILED"]);
    let applications = vec![summary("FAILED"); 1_000];
    let unreadable = [(HOSTILE.to_owned(), format!("damaged: {HOSTILE}"))];
    let shown =
        History { wanted: &wanted, applications: &applications, total: 2_500, unreadable: &unreadable, now_ms: 9_000 };
    let page = history(&shown).body.into_string();
    assert_sound(&page);
    assert!(page.contains(ESCAPED));
    for expected in [
        "1–1,000 of 2,500",
        "value=\"FAILED\" checked>",
        "1 min 03 s",
        "data-quality",
        "damaged: &lt;img",
        "limit=1000&amp;offset=1000\" rel=\"next\"",
        "Show all",
    ] {
        assert!(page.contains(expected), "{expected} is missing");
    }
    assert!(!page.contains("value=\"RUNNING\" checked"));
}

#[test]
fn an_empty_list_says_so() {
    let wanted = asked(&[]).unwrap();
    let page = history(&History { wanted: &wanted, applications: &[], total: 0, unreadable: &[], now_ms: 1 });
    let page = page.body.into_string();
    assert_sound(&page);
    assert!(page.contains("No application is like this.") && !page.contains("cannot be read"), "{page}");
}

#[test]
fn states_that_are_none_are_refused() {
    let Err(Bad(why)) = asked(&[("state", "<b>")]) else { panic!("it is a state") };
    assert!(why.contains("expected RUNNING, SUBMITTED"), "{why}");
    assert!(asked(&[("offset", "-1")]).is_err() && asked(&[("limit", "5000")]).is_err());
}
