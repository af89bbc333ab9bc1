//! Wildcards over path segments: `*`, `?`, `**` and `{a,b}`. Pure.

/// A pattern relative to some directory; an empty one means everything below it.
#[derive(Debug)]
pub(super) struct Glob {
    /// Alternatives without braces, as segments.
    alternatives: Vec<Vec<String>>,
}

impl Glob {
    /// The pattern's alternatives.
    pub(super) fn new(pattern: &str) -> Self {
        let alternatives = expand_braces(pattern);
        let segments =
            |text: &String| text.split('/').filter(|segment| !segment.is_empty()).map(str::to_owned).collect();
        Self { alternatives: alternatives.iter().map(segments).collect() }
    }

    /// Whether a file is meant: the pattern matches its path or a directory above it. A segment that begins with `_`
    /// (without `=`, which names a partition) or `.` is only met by a pattern that begins so too.
    pub(super) fn matches(&self, path: &[&str]) -> bool {
        self.alternatives.iter().any(|pattern| matches_path(pattern, path))
    }
}

fn matches_path(pattern: &[String], path: &[&str]) -> bool {
    let Some((segment, rest)) = pattern.split_first() else {
        return path.iter().all(|segment| !is_hidden(segment));
    };
    if segment == "**" {
        return (0..=path.len()).any(|skipped| {
            let (before, after) = path.split_at_checked(skipped).unwrap_or((path, &[]));
            // Something must be left for the pattern that follows; alone it means everything.
            before.iter().all(|segment| !is_hidden(segment))
                && if rest.is_empty() { skipped == path.len() } else { !after.is_empty() && matches_path(rest, after) }
        });
    }
    path.split_first().is_some_and(|(name, below)| {
        let visible = !is_hidden(name) || segment.starts_with(['_', '.']);
        let name: Vec<char> = name.chars().collect();
        let segment: Vec<char> = segment.chars().collect();
        visible && matches_name(&segment, &name) && matches_path(rest, below)
    })
}

fn is_hidden(segment: &str) -> bool {
    segment.starts_with('.') || (segment.starts_with('_') && !segment.contains('='))
}

/// Linear in the product of the lengths: goes back only to the last star.
fn matches_name(pattern: &[char], name: &[char]) -> bool {
    let (mut at, mut position) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while position < name.len() {
        match pattern.get(at) {
            Some('*') => {
                star = Some((at, position));
                at += 1;
            }
            Some(character) if *character == '?' || name.get(position) == Some(character) => {
                at += 1;
                position += 1;
            }
            _ => match star {
                Some((star_at, taken)) => {
                    star = Some((star_at, taken + 1));
                    at = star_at + 1;
                    position = taken + 1;
                }
                None => return false,
            },
        }
    }
    pattern.get(at..).is_some_and(|rest| rest.iter().all(|character| *character == '*'))
}

/// `a{b,c}d` to `abd` and `acd`; braces nest; one without its partner is a character.
fn expand_braces(pattern: &str) -> Vec<String> {
    let Some(open) = pattern.find('{') else {
        return vec![pattern.to_owned()];
    };
    let (mut depth, mut parts, mut close) = (0_usize, vec![open + 1], None);
    for (at, character) in pattern.char_indices().skip_while(|(at, _)| *at < open) {
        match character {
            '{' => depth += 1,
            ',' if depth == 1 => parts.push(at + 1),
            '}' => {
                depth -= 1;
                if depth == 0 {
                    close = Some(at);
                    break;
                }
            }
            _ => {}
        }
    }
    let Some(close) = close else {
        return vec![pattern.to_owned()];
    };
    let before = pattern.get(..open).unwrap_or_default();
    let after = pattern.get(close + 1..).unwrap_or_default();
    parts.push(close + 1);
    let choices = parts.windows(2).filter_map(|pair| match pair {
        [from, to] => pattern.get(*from..to - 1),
        _ => None,
    });
    choices.flat_map(|choice| expand_braces(&format!("{before}{choice}{after}"))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &str, path: &str) -> bool {
        Glob::new(pattern).matches(&path.split('/').collect::<Vec<_>>())
    }

    #[test]
    fn wildcards_stay_within_segments_and_stars_cross_them_in_pairs() {
        for (pattern, path, expected) in [
            ("*.csv", "a.csv", true),
            ("*.csv", "x/a.csv", false),
            ("*.csv", "out.csv/part-1", true),
            ("*", "_SUCCESS", false),
            ("_*", "_SUCCESS", true),
            ("ds=*/", "ds=1/a", true),
            ("ds=*/", "ds=1/_a", false),
            ("**/a?c", "abc", true),
            ("**/a?c", "x/y/abc", true),
            ("**/a?c", "x/.y/abc", false),
            ("x/**", "x/y/z", true),
            ("**/b/*", "a/b/c/d", true),
            ("a*b*c", "a-bb-b-c", true),
            ("a*b*c", "a-bb-b-d", false),
            ("{a,b{1,2}}.x", "b2.x", true),
            ("{a,b{1,2}}.x", "b3.x", false),
            ("{a", "{a", true),
            ("ü?", "üß", true),
            ("", "a/b", true),
            ("", "a/.b", false),
        ] {
            assert_eq!(matches(pattern, path), expected, "{pattern} on {path}");
        }
    }
}
