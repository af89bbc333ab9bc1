//! Names and messages from elsewhere for a terminal: characters that move the cursor, change colours or turn the direction
//! of writing are shown as what they are. Pure.

/// The text in one line: what a reader would not see as itself is written as `\u{1b}`.
pub fn one_line(text: &str) -> String {
    shown(text, |_| false)
}

/// As [`one_line`]; line ends and tabs stay.
pub fn lines(text: &str) -> String {
    shown(text, |c| matches!(c, '\n' | '\t'))
}

/// Whether a terminal or a browser would obey the character, or turn the direction of what stands beside it.
pub fn is_obeyed(c: char) -> bool {
    let is_bidirectional =
        matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    c.is_control() || is_bidirectional || matches!(c, '\u{2028}' | '\u{2029}')
}

/// Whether the character leaves a trace of its own for the eye: it is no blank, of no width, and nothing that is obeyed.
pub fn is_seen(c: char) -> bool {
    let is_blank = c.is_whitespace() || matches!(c, '\u{2800}' | '\u{3164}' | '\u{ffa0}' | '\u{115f}' | '\u{1160}');
    let has_no_width = matches!(
        c,
        '\u{ad}' | '\u{34f}' | '\u{17b4}' | '\u{17b5}' | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200d}'
            | '\u{2060}'..='\u{206f}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}'
            | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}'
    );
    !(is_blank || has_no_width || is_obeyed(c))
}

fn shown(text: &str, stays: impl Fn(char) -> bool) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        if is_obeyed(c) && !stays(c) {
            shown.extend(c.escape_unicode());
        } else {
            shown.push(c);
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_would_obey_is_shown_and_all_else_stays() {
        let hostile = "a\u{1b}[2Jb\rc\u{202e}d\u{2069}e\u{9b}31m\nf\tg";
        let expected = "a\\u{1b}[2Jb\\u{d}c\\u{202e}d\\u{2069}e\\u{9b}31m";
        assert_eq!(one_line(hostile), format!("{expected}\\u{{a}}f\\u{{9}}g"));
        assert_eq!(lines(hostile), format!("{expected}\nf\tg"));
        let harmless = "Umsätze – 売上 שלום \u{1f680}";
        assert_eq!((one_line(harmless).as_str(), lines(harmless).as_str()), (harmless, harmless));
    }
}
