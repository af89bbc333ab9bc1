//! How the cluster was used over the last hour. Pure.

use lake_proto::quantity::{bytes, noun};

use super::Sample;
use crate::draw::charts::{Use, usage};
use crate::html::{Html, element, heading, share, text};

const HOUR_MS: u64 = 3_600_000;

pub(super) fn section(samples: &[Sample], now_ms: u64) -> Html {
    let from_ms = now_ms.saturating_sub(HOUR_MS);
    let kept: Vec<&Sample> = samples.iter().filter(|sample| sample.at_ms >= from_ms).collect();
    let cores: Vec<Use> =
        kept.iter().map(|s| Use { at_ms: s.at_ms, used: s.cores_used, total: s.cores_total }).collect();
    let memory: Vec<Use> =
        kept.iter().map(|s| Use { at_ms: s.at_ms, used: s.memory_used_bytes, total: s.memory_total_bytes }).collect();
    let figures = [
        figure("Cores", &cores, now_ms, |number| format!("{number} {}", noun(number, "core", "cores"))),
        figure("Memory", &memory, now_ms, bytes),
    ];
    let remark = match kept.first() {
        Some(first) if first.at_ms > from_ms + 2 * 60_000 => "since this master leads",
        Some(_) => "over the last hour",
        None => "no figures yet",
    };
    let charts = element("div", &[("class", "charts")], &figures);
    element("section", &[("id", "use")], &[heading("Use", remark), charts])
}

fn figure(name: &'static str, points: &[Use], now_ms: u64, words: impl Fn(u64) -> String) -> Html {
    let highest = points.iter().map(|point| point.total.max(point.used)).max().unwrap_or(0);
    let most = points.iter().map(|point| point.used).max().unwrap_or(0);
    let summary = match points.last() {
        Some(now) => {
            let (used, total) = mean(points);
            format!(
                "{} of {} now, {} at most, {} on average",
                words(now.used),
                words(now.total),
                words(most),
                share(used, total)
            )
        }
        None => "nothing yet".to_owned(),
    };
    let label = format!("{name} in use over the last hour: {summary}");
    let marks = ["−60 min", "−45", "−30", "−15", "now"];
    let chart = usage(&label, points, now_ms.saturating_sub(HOUR_MS), now_ms, &words(highest), &marks);
    let caption = element("figcaption", &[], &[element("strong", &[], &[text(name)]), text(format!(" {summary}"))]);
    element("figure", &[], &[caption, chart])
}

/// Of samples that are equally far apart.
fn mean(points: &[Use]) -> (u64, u64) {
    let sum = |figure: fn(&Use) -> u64| points.iter().map(figure).fold(0_u64, u64::saturating_add);
    (sum(|point| point.used), sum(|point| point.total))
}
