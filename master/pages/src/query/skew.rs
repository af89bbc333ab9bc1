//! How evenly the work of a stage lies on its tasks. Pure.

use lake_proto::quantity::{bytes, count, counted};
use lake_record::{AttemptState, AttemptTotals, Distribution, StageRecord, distribution};

use crate::draw::strip;
use crate::html::Column::{Number, Text};
use crate::html::{Html, duration, element, heading, nowrap, span, table, text};

/// One kind of figure of an attempt.
struct Measure {
    name: &'static str,
    figure: fn(&AttemptTotals) -> u64,
    words: fn(u64) -> String,
    /// What is smaller is not worth a word.
    least: u64,
}

const MEASURES: [Measure; 8] = [
    Measure { name: "Time", figure: |totals| totals.elapsed_ms, words: duration, least: 1_000 },
    Measure { name: "Rows", figure: |totals| totals.rows, words: count, least: 10_000 },
    Measure { name: "Bytes", figure: |totals| totals.bytes, words: bytes, least: 1 << 20 },
    Measure { name: "Rows scanned", figure: |totals| totals.input_rows, words: count, least: 10_000 },
    Measure { name: "Bytes scanned", figure: |totals| totals.input_bytes, words: bytes, least: 1 << 20 },
    Measure { name: "Shuffle read", figure: |totals| totals.shuffle_read_bytes, words: bytes, least: 1 << 20 },
    Measure { name: "Shuffle written", figure: |totals| totals.shuffle_write_bytes, words: bytes, least: 1 << 20 },
    Measure { name: "Spilled", figure: |totals| totals.spilled_bytes, words: bytes, least: 1 << 20 },
];
/// Fewer tasks are not compared.
const FEWEST: usize = 4;
/// So many times the middle is worth a word.
const SKEWED: u64 = 3;

/// The table of a stage; nothing before a task of it is done.
pub(super) fn of(stage: &StageRecord) -> Html {
    let done: Vec<&AttemptTotals> = stage
        .attempts
        .iter()
        .filter(|attempt| attempt.state == AttemptState::Success)
        .map(|attempt| &attempt.totals)
        .collect();
    if done.is_empty() {
        return Html::default();
    }
    let mut rows = Vec::new();
    for measure in &MEASURES {
        let found = distribution(done.iter().map(|totals| (measure.figure)(totals)));
        let is_always_shown = matches!(measure.name, "Time" | "Rows" | "Bytes");
        if found.max > 0 || is_always_shown {
            rows.push(row(measure, &found));
        }
    }
    let columns = [
        Text("Per task"),
        Number("Least"),
        Number("Median"),
        Number("95 of 100"),
        Number("Most"),
        Text("From 0 to the most"),
        Text("Skew"),
    ];
    let title = heading(
        "Tasks compared",
        counted(done.len(), "task that is done").replace("task that is dones", "tasks that are done"),
    );
    element("div", &[("class", "skew")], &[title, table("Tasks compared", &columns, rows, "None.")])
}

fn row(measure: &Measure, found: &Distribution) -> Vec<Html> {
    let figure = |figure: u64| nowrap((measure.words)(figure));
    vec![
        text(measure.name),
        figure(found.min),
        figure(found.median),
        figure(found.p95),
        figure(found.max),
        strip::spread(found.min, found.median, found.p95, found.max),
        match times(measure, found) {
            Some(words) => span("badge warn", words),
            None => span("soft", "even"),
        },
    ]
}

/// How many times the median the most is, where that is worth a word.
fn times(measure: &Measure, found: &Distribution) -> Option<String> {
    if found.count < FEWEST || found.max < measure.least || found.max / SKEWED < found.median.max(1) {
        return None;
    }
    Some(match found.median {
        0 => "all in few tasks".to_owned(),
        median => format!("{}× the median", count(found.max / median)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn skew_is_told_where_it_matters() {
        let time = &MEASURES[0];
        let told = |figures: &[u64]| times(time, &distribution(figures.iter().copied()));
        assert_eq!(told(&[2_000, 2_000, 2_000, 20_000]).as_deref(), Some("10× the median"));
        assert_eq!(told(&[2_000, 2_000, 2_000, 5_000]), None, "not that much more");
        assert_eq!(told(&[1, 1, 1, 900]), None, "too little to matter");
        assert_eq!(told(&[2_000, 20_000]), None, "too few to compare");
        assert_eq!(told(&[0, 0, 0, 20_000]).as_deref(), Some("all in few tasks"));
    }
}
