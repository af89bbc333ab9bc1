//! A strict reader of Prometheus' text format and of its rules for names: what `promtool check metrics` finds, and more.
//! Pure. For tests, also of other crates.

use std::collections::{BTreeMap, BTreeSet};

/// Parts of names that are abbreviated units.
const ABBREVIATED: [&str; 14] = ["s", "ms", "us", "ns", "sec", "b", "kb", "mb", "gb", "tb", "pb", "m", "h", "d"];
/// Units that are not base units.
const NOT_BASE: [&str; 9] =
    ["milliseconds", "microseconds", "nanoseconds", "minutes", "hours", "days", "kilobytes", "megabytes", "bits"];

/// A page that keeps the rules.
#[derive(Debug, Default, PartialEq)]
pub struct Checked {
    /// Kinds by name of metric.
    pub kinds: BTreeMap<String, String>,
    /// Values by series: the name with its labels as they are written.
    pub samples: BTreeMap<String, f64>,
}

/// Reads a page.
///
/// # Errors
/// The line, and what is wrong with it.
pub fn check(text: &str) -> Result<Checked, String> {
    let mut reader = Reader::default();
    if !text.is_empty() && !text.ends_with('\n') {
        return Err("the last line has no end".to_owned());
    }
    for (number, line) in text.lines().enumerate() {
        reader.line(line).map_err(|why| format!("line {}: {why}: {line}", number + 1))?;
    }
    reader.close()?;
    Ok(reader.checked)
}

#[derive(Default)]
struct Reader {
    checked: Checked,
    /// The metric whose lines are read.
    open: Option<Open>,
}

struct Open {
    name: String,
    kind: Option<String>,
    histograms: BTreeMap<String, Histogram>,
}

#[derive(Default)]
struct Histogram {
    buckets: Vec<(f64, f64)>,
    sum: Option<f64>,
    count: Option<f64>,
}

impl Reader {
    fn line(&mut self, line: &str) -> Result<(), String> {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, help) = rest.split_once(' ').unwrap_or((rest, ""));
            return self.help(name, help);
        }
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').ok_or("no kind")?;
            return self.kind(name, kind);
        }
        if line.is_empty() || line.starts_with('#') {
            return Err("neither a sample nor HELP nor TYPE".to_owned());
        }
        self.sample(line)
    }

    fn help(&mut self, name: &str, help: &str) -> Result<(), String> {
        self.close()?;
        check_name(name)?;
        if help.trim().is_empty() {
            return Err("no help".to_owned());
        }
        if self.checked.kinds.contains_key(name) {
            return Err("this metric was there before".to_owned());
        }
        self.open = Some(Open { name: name.to_owned(), kind: None, histograms: BTreeMap::new() });
        Ok(())
    }

    fn kind(&mut self, name: &str, kind: &str) -> Result<(), String> {
        let open = self.open.as_mut().filter(|open| open.name == name && open.kind.is_none());
        let open = open.ok_or("TYPE does not follow HELP of the same metric")?;
        match (kind, name.ends_with("_total")) {
            ("counter", true) | ("gauge" | "histogram", false) => {}
            ("counter", false) => return Err("a counter does not end in _total".to_owned()),
            ("gauge" | "histogram", true) => return Err("only a counter ends in _total".to_owned()),
            _ => return Err("this kind is not known".to_owned()),
        }
        if kind != "histogram" && ["_bucket", "_count", "_sum"].iter().any(|suffix| name.ends_with(suffix)) {
            return Err("only what belongs to a histogram has such an end".to_owned());
        }
        open.kind = Some(kind.to_owned());
        self.checked.kinds.insert(name.to_owned(), kind.to_owned());
        Ok(())
    }

    fn sample(&mut self, line: &str) -> Result<(), String> {
        let Sample { name, labels, value } = Sample::read(line)?;
        let open = self.open.as_mut().ok_or("a sample before HELP and TYPE")?;
        let kind = open.kind.as_deref().ok_or("a sample before TYPE")?;
        let suffix = name.strip_prefix(open.name.as_str()).ok_or("a sample of another metric")?;
        if kind != "histogram" {
            if !suffix.is_empty() {
                return Err("a sample of another metric".to_owned());
            }
            if kind == "counter" && value < 0.0 {
                return Err("a counter is negative".to_owned());
            }
        } else {
            let others: Vec<String> = labels
                .iter()
                .filter(|(name, _)| name != "le")
                .map(|(name, value)| format!("{name}={value:?}"))
                .collect();
            let histogram = open.histograms.entry(others.join(",")).or_default();
            let bound = labels.iter().find(|(name, _)| name == "le").map(|(_, value)| value.as_str());
            match (suffix, bound) {
                ("_bucket", Some(bound)) => histogram.buckets.push((number(bound)?, value)),
                ("_sum", None) => histogram.sum = Some(value),
                ("_count", None) => histogram.count = Some(value),
                _ => return Err("not a sample of a histogram".to_owned()),
            }
        }
        let series = line.rsplit_once(' ').map_or(line, |(series, _)| series).to_owned();
        if self.checked.samples.insert(series, value).is_some() {
            return Err("this series was there before".to_owned());
        }
        Ok(())
    }

    fn close(&mut self) -> Result<(), String> {
        let Some(open) = self.open.take() else { return Ok(()) };
        if open.kind.is_none() {
            return Err(format!("{} has no TYPE", open.name));
        }
        for (labels, histogram) in open.histograms {
            histogram.check().map_err(|why| format!("{}{{{labels}}}: {why}", open.name))?;
        }
        Ok(())
    }
}

impl Histogram {
    fn check(&self) -> Result<(), String> {
        let is_ascending = |pair: &[(f64, f64)]| match pair {
            [(low, fewer), (high, more)] => low < high && fewer <= more,
            _ => true,
        };
        if !self.buckets.windows(2).all(is_ascending) {
            return Err("buckets do not ascend".to_owned());
        }
        let all = self.buckets.last().filter(|(bound, _)| *bound == f64::INFINITY).map(|(_, count)| *count);
        match (all, self.count, self.sum) {
            (Some(all), Some(count), Some(_)) if all == count => Ok(()),
            (Some(_), Some(_), Some(_)) => Err("the last bucket is not the count".to_owned()),
            _ => Err("no bucket +Inf, no sum or no count".to_owned()),
        }
    }
}

struct Sample {
    name: String,
    labels: Vec<(String, String)>,
    value: f64,
}

impl Sample {
    fn read(line: &str) -> Result<Self, String> {
        let end = line.find(['{', ' ']).ok_or("no value")?;
        let (name, mut rest) = line.split_at(end);
        let mut labels = Vec::new();
        if let Some(mut inside) = rest.strip_prefix('{') {
            loop {
                let (label, value) = inside.split_once("=\"").ok_or("a label without a value")?;
                check_label(label)?;
                let (value, behind) = quoted(value)?;
                labels.push((label.to_owned(), value));
                if let Some(next) = behind.strip_prefix(',') {
                    inside = next;
                } else {
                    rest = behind.strip_prefix('}').ok_or("labels have no end")?;
                    break;
                }
            }
        }
        let names: BTreeSet<&String> = labels.iter().map(|(name, _)| name).collect();
        if names.len() < labels.len() {
            return Err("a label is there twice".to_owned());
        }
        let value = number(rest.strip_prefix(' ').ok_or("no value")?)?;
        Ok(Self { name: name.to_owned(), labels, value })
    }
}

/// What stands before the closing quote, and what behind it.
fn quoted(text: &str) -> Result<(String, &str), String> {
    let mut value = String::new();
    let mut characters = text.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return Ok((value, text.get(at + 1..).unwrap_or_default())),
            '\\' => match characters.next() {
                Some((_, '\\')) => value.push('\\'),
                Some((_, '"')) => value.push('"'),
                Some((_, 'n')) => value.push('\n'),
                _ => return Err("an escape that is not known".to_owned()),
            },
            other => value.push(other),
        }
    }
    Err("a value of a label has no end".to_owned())
}

fn number(text: &str) -> Result<f64, String> {
    match text {
        "+Inf" => Ok(f64::INFINITY),
        "-Inf" => Ok(f64::NEG_INFINITY),
        "NaN" => Ok(f64::NAN),
        // Rust reads words that Prometheus does not write.
        other if other.ends_with(|last: char| last.is_ascii_digit()) => {
            other.parse().map_err(|_| format!("'{other}' is not a number"))
        }
        other => Err(format!("'{other}' is not a number")),
    }
}

fn check_name(name: &str) -> Result<(), String> {
    let is_snake = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    if !name.starts_with(|c: char| c.is_ascii_lowercase()) || !name.chars().all(is_snake) {
        return Err("the name is not in snake_case".to_owned());
    }
    let mut parts = name.split('_').skip(1);
    if let Some(part) = parts.find(|part| ABBREVIATED.contains(part) || NOT_BASE.contains(part)) {
        return Err(format!("'{part}' is not a base unit in full"));
    }
    if ["counter", "gauge", "histogram", "summary"].iter().any(|kind| name.split('_').any(|part| part == *kind)) {
        return Err("the name says its kind".to_owned());
    }
    Ok(())
}

fn check_label(name: &str) -> Result<(), String> {
    let is_snake = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    if name.starts_with(|c: char| c.is_ascii_lowercase()) && name.chars().all(is_snake) {
        return Ok(());
    }
    Err(format!("label '{name}' is not in snake_case"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_that_keeps_the_rules_is_read() {
        let text = "# HELP a_rows_total two\\nlines\n# TYPE a_rows_total counter\na_rows_total{x=\"1\",y=\"\\\"\\\\\\n\"} 3\na_rows_total{x=\"2\",y=\"\"} 4.5\n\
                    # HELP c_seconds c\n# TYPE c_seconds histogram\nc_seconds_bucket{le=\"0.5\"} 1\nc_seconds_bucket{le=\"+Inf\"} 2\n\
                    c_seconds_sum 1.25\nc_seconds_count 2\n# HELP d d\n# TYPE d gauge\n";
        let checked = check(text).unwrap();
        assert_eq!(checked.samples.get("a_rows_total{x=\"2\",y=\"\"}"), Some(&4.5));
        assert_eq!(checked.kinds.get("d").map(String::as_str), Some("gauge"));
        assert_eq!(checked.samples.len(), 6);
    }

    #[test]
    fn what_breaks_a_rule_is_refused_with_its_line() {
        let family = |name: &str, kind: &str, rest: &str| format!("# HELP {name} h\n# TYPE {name} {kind}\n{rest}");
        let histogram = |rest: &str| family("h_seconds", "histogram", rest);
        let rows = [
            ("a 1\n".to_owned(), "before HELP"),
            ("# HELP a h\na 1\n".to_owned(), "before TYPE"),
            ("# HELP a \n# TYPE a gauge\n".to_owned(), "no help"),
            (family("a", "counter", ""), "_total"),
            (family("a_total", "gauge", ""), "_total"),
            (family("a_count", "gauge", ""), "histogram"),
            (family("aliveWorkers", "gauge", ""), "snake_case"),
            (family("a_ms", "gauge", ""), "base unit"),
            (family("a_milliseconds", "gauge", ""), "base unit"),
            (family("a_gauge", "gauge", ""), "kind"),
            (family("a", "untyped", ""), "kind is not known"),
            (family("a", "gauge", "a 1\na 2\n"), "there before"),
            (family("a", "gauge", "b 2\n"), "another metric"),
            (family("a", "gauge", "a{x=\"1\"} x\n"), "not a number"),
            (family("a", "gauge", "a{x=\"1\" 2\n"), "no end"),
            (family("a", "gauge", "a{x=\"1} 2\n"), "no end"),
            (family("a", "gauge", "a{x=\"1\",x=\"2\"} 2\n"), "twice"),
            (family("a", "gauge", "a{memUsed=\"1\"} 2\n"), "snake_case"),
            (family("a", "gauge", "a inf\n"), "not a number"),
            (family("a", "gauge", "a 1"), "last line"),
            (family("a", "gauge", "\n"), "neither"),
            (family("a_total", "counter", "a_total -1\n"), "negative"),
            (family("a", "gauge", "a 1\n") + &family("b", "gauge", "") + &family("a", "gauge", ""), "before"),
            (histogram("h_seconds_bucket{le=\"1\"} 1\nh_seconds_sum 1\nh_seconds_count 1\n"), "+Inf"),
            (histogram("h_seconds_bucket{le=\"+Inf\"} 1\nh_seconds_sum 1\nh_seconds_count 2\n"), "not the count"),
            (
                histogram(
                    "h_seconds_bucket{le=\"1\"} 2\nh_seconds_bucket{le=\"+Inf\"} 1\nh_seconds_sum 1\nh_seconds_count 1\n",
                ),
                "ascend",
            ),
            (histogram("h_seconds 1\n"), "not a sample"),
        ];
        for (text, why) in rows {
            let error = check(&text).unwrap_err();
            assert!(error.contains(why), "{error:?} for {text:?}");
        }
    }
}
