//! Workers one below the other, and what each ran when: task by task, or how many at once. Pure.

use super::axis::Axis;
use super::{caption, coordinate, cut, hint_of, line, path, rectangle, svg};
use crate::html::{Html, element, text};
use crate::layout::{Point, Size};

const LABELS: f64 = 190.0;
const WIDTH: f64 = 1_160.0;
const HEAD: f64 = 24.0;
const SLOT: f64 = 9.0;
const TRACK: f64 = 38.0;
const BUCKETS: usize = 160;
/// More at once on one worker are drawn above each other.
const MOST_SLOTS: usize = 64;

/// A worker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Track {
    pub(crate) label: String,
    pub(crate) hint: String,
    pub(crate) href: String,
    pub(crate) spans: Vec<Span>,
}

/// A task attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) start_ms: u64,
    pub(crate) end_ms: u64,
    /// Number of its colour.
    pub(crate) colour: u32,
    pub(crate) has_failed: bool,
    pub(crate) is_running: bool,
    pub(crate) hint: String,
}

/// Every span as a bar.
pub(crate) fn spans(tracks: &[Track], from_ms: u64, to_ms: u64) -> Html {
    let placed: Vec<Vec<(usize, &Span)>> = tracks.iter().map(|track| in_slots(&track.spans)).collect();
    let slots = |placed: &[(usize, &Span)]| placed.iter().map(|(slot, _)| slot + 1).max().unwrap_or(1).max(2);
    let heights: Vec<f64> = placed.iter().map(|placed| (slots(placed) as f64) * SLOT + 8.0).collect();
    let height = HEAD + heights.iter().sum::<f64>();
    let axis = Axis::new(from_ms, to_ms, LABELS, WIDTH - LABELS - 24.0);
    let mut parts = axis.marks(HEAD, height);
    let mut top = HEAD;
    for ((track, placed), height) in tracks.iter().zip(&placed).zip(&heights) {
        parts.push(head(track, top));
        for (slot, span) in placed {
            let (left, width) = axis.bar(span.start_ms, span.end_ms);
            let corner = Point { x: left, y: top + 4.0 + SLOT * (*slot as f64) };
            let mut class = format!("task c{}", span.colour);
            if span.has_failed {
                class.push_str(" failed");
            }
            if span.is_running {
                class.push_str(" running");
            }
            parts.push(rectangle(&class, corner, Size { width, height: SLOT - 2.0 }, &span.hint));
        }
        top += height;
    }
    svg("tracks", "group", "Tasks by worker", Size { width: WIDTH, height: height + 4.0 }, &parts)
}

/// How many spans there are at once, by worker, all to the same scale.
pub(crate) fn densities(tracks: &[Track], from_ms: u64, to_ms: u64) -> Html {
    let height = HEAD + TRACK * (tracks.len() as f64);
    let axis = Axis::new(from_ms, to_ms, LABELS, WIDTH - LABELS - 110.0);
    let counted: Vec<Vec<f64>> = tracks.iter().map(|track| density(&track.spans, from_ms, to_ms)).collect();
    let most = counted.iter().flatten().copied().fold(1.0, f64::max);
    let mut parts = axis.marks(HEAD, height);
    let mut top = HEAD;
    for (track, densities) in tracks.iter().zip(&counted) {
        parts.push(head(track, top));
        parts.push(path("area", &hill(densities, &axis, (from_ms, to_ms), top + TRACK - 3.0, (TRACK - 8.0) / most)));
        let busiest = densities.iter().copied().fold(0.0, f64::max);
        let failed = track.spans.iter().filter(|span| span.has_failed).count();
        let at = Point { x: WIDTH - 104.0, y: top + 17.0 };
        parts.push(caption("remark", at, &format!("≤ {busiest:.0} at once")));
        if failed > 0 {
            parts.push(caption("remark bad", Point { y: at.y + 14.0, ..at }, &format!("✕ {failed} failed")));
        }
        top += TRACK;
    }
    svg("tracks", "group", "Tasks at once by worker", Size { width: WIDTH, height: height + 4.0 }, &parts)
}

fn head(track: &Track, top: f64) -> Html {
    let mut name = vec![text(cut(&track.label, 26))];
    name.extend(hint_of(&track.hint));
    let (x, y) = ("0".to_owned(), coordinate(top + 17.0));
    let label = element("text", &[("class", "lane"), ("x", &x), ("y", &y)], &name);
    let rule = line("grid", Point { x: 0.0, y: top }, Point { x: WIDTH, y: top });
    element("g", &[], &[rule, element("a", &[("href", &track.href)], &[label])])
}

/// Each span in the first slot that is free when it starts.
fn in_slots(spans: &[Span]) -> Vec<(usize, &Span)> {
    let mut sorted: Vec<&Span> = spans.iter().collect();
    sorted.sort_by_key(|span| (span.start_ms, span.end_ms));
    let mut busy_until: Vec<u64> = Vec::new();
    let mut placed = Vec::with_capacity(sorted.len());
    for span in sorted {
        let free = busy_until.iter().position(|until| *until <= span.start_ms);
        let slot = free.unwrap_or(busy_until.len()).min(MOST_SLOTS - 1);
        match busy_until.get_mut(slot) {
            Some(until) => *until = span.end_ms.max(*until),
            None => busy_until.push(span.end_ms),
        }
        placed.push((slot, span));
    }
    placed
}

/// How many spans there are on average in each of [`BUCKETS`] parts of the time.
fn density(spans: &[Span], from_ms: u64, to_ms: u64) -> Vec<f64> {
    let width = (to_ms.saturating_sub(from_ms).max(1) as f64) / (BUCKETS as f64);
    let mut densities = vec![0.0; BUCKETS];
    for span in spans {
        let start = span.start_ms.saturating_sub(from_ms) as f64 / width;
        let end = span.end_ms.saturating_sub(from_ms) as f64 / width;
        for (index, density) in densities.iter_mut().enumerate() {
            let left = index as f64;
            let overlap = end.min(left + 1.0) - start.max(left);
            if overlap > 0.0 {
                *density += overlap;
            }
        }
    }
    densities
}

fn hill(densities: &[f64], axis: &Axis, (from_ms, to_ms): (u64, u64), bottom: f64, scale: f64) -> String {
    let (left, right) = (axis.x(from_ms), axis.x(to_ms));
    let step = (right - left) / (densities.len().max(1) as f64);
    let mut commands = format!("M{} {}", coordinate(left), coordinate(bottom));
    let mut x = left;
    let mut last = String::new();
    for density in densities {
        let y = coordinate(bottom - density * scale);
        // A level stretch is one line.
        if y != last {
            commands.push_str(&format!("H{}V{y}", coordinate(x)));
            last = y;
        }
        x += step;
    }
    commands.push_str(&format!("H{}V{}z", coordinate(right), coordinate(bottom)));
    commands
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(start_ms: u64, end_ms: u64) -> Span {
        Span { start_ms, end_ms, colour: 1, has_failed: false, is_running: false, hint: "<t>".to_owned() }
    }

    #[test]
    fn spans_at_once_are_below_each_other_and_later_ones_take_free_slots() {
        let all = [span(0, 10), span(5, 20), span(10, 15), span(12, 13)];
        let slots: Vec<usize> = in_slots(&all).into_iter().map(|(slot, _)| slot).collect();
        assert_eq!(slots, [0, 1, 0, 2]);
        let crowd: Vec<Span> = (0..100).map(|_| span(0, 10)).collect();
        assert_eq!(in_slots(&crowd).into_iter().map(|(slot, _)| slot).max(), Some(MOST_SLOTS - 1));
    }

    #[test]
    fn a_density_is_how_many_run_at_once() {
        let found = density(&[span(0, 160), span(0, 80), span(80, 80)], 0, 160);
        assert!((found[0] - 2.0).abs() < 1e-9 && (found[79] - 2.0).abs() < 1e-9 && (found[80] - 1.0).abs() < 1e-9);
        assert!(density(&[], 5, 5).iter().all(|density| *density == 0.0));
    }

    #[test]
    fn a_picture_of_many_is_small_and_says_what_failed() {
        let mut many: Vec<Span> = (0..10_000).map(|index| span(index * 7 % 60_000, index * 7 % 60_000 + 900)).collect();
        many[0].has_failed = true;
        let track = Track { label: "<h1>".into(), hint: "<w>".into(), href: "/workers/w".into(), spans: many };
        let drawn = densities(&[track], 0, 61_000).into_string();
        assert!(drawn.len() < 8_000, "{}", drawn.len());
        assert!(drawn.contains("✕ 1 failed") && drawn.contains("at once</text>"), "{drawn}");
        assert!(drawn.contains("&lt;h1&gt;") && !drawn.contains("<h1>"), "{drawn}");
    }
}
