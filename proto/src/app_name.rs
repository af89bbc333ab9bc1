//! What an application may be called in lists, on pages and in logs. Pure.

use crate::visible::{is_obeyed, is_seen};
use crate::{ErrorClass, Fault};

/// Characters of a name: it stands in one line of every list.
const MAX_CHARACTERS: usize = 200;

/// Refuses a name that nobody could read or look for.
///
/// # Errors
/// `invalid-job` (code `usage`) for a name that is too long, has a character that a terminal obeys, or none that is seen.
pub fn check(name: &str) -> Result<(), Fault> {
    let refused = |why: String| Err(Fault::new(ErrorClass::InvalidJob, "usage", why));
    let characters = name.chars().count();
    if characters > MAX_CHARACTERS {
        return refused(format!(
            "the application's name has {characters} characters: expected at most {MAX_CHARACTERS}"
        ));
    }
    if let Some(found) = name.chars().find(|c| is_obeyed(*c)) {
        return refused(format!(
            "the application's name has the control character {}: expected text in one line",
            found.escape_unicode()
        ));
    }
    if !name.chars().any(is_seen) {
        return refused("the application's name has no visible character".to_owned());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_one_line_that_can_be_seen_and_is_not_too_long() {
        let longest = "ä".repeat(200);
        for name in ["daily", "Umsätze – 売上 שלום \u{1f680}", "a\u{200d}b", "\u{a0}x", longest.as_str()] {
            assert_eq!(check(name), Ok(()), "{name:?}");
        }
        let too_long = format!("{longest}a");
        for (name, expected) in [
            ("", "no visible character"),
            (" \u{3000}\u{a0}", "no visible character"),
            ("\u{200b}\u{feff}\u{2060}\u{ad}", "no visible character"),
            ("\u{3164}\u{2800}\u{fe0f}\u{e0041}", "no visible character"),
            ("a\tb", "the control character \\u{9}"),
            ("a\u{1b}[2J", "the control character \\u{1b}"),
            ("a\u{202e}b", "the control character \\u{202e}"),
            ("a\u{2028}b", "the control character \\u{2028}"),
            (too_long.as_str(), "201 characters: expected at most 200"),
        ] {
            let fault = check(name).unwrap_err();
            assert_eq!((fault.class, fault.code.as_str()), (ErrorClass::InvalidJob, "usage"), "{name:?}");
            assert!(fault.message.contains(expected), "{name:?}: {fault}");
        }
    }
}
