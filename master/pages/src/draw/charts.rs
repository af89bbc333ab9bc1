//! Charts: how much is used over time, how files lie by size, how many tasks run. Pure.

use super::axis::Axis;
use super::{caption, coordinate, line, path, rectangle, svg};
use crate::html::Html;
use crate::layout::{Point, Size};

const AREA: Size = Size { width: 560.0, height: 132.0 };
const LEFT: f64 = 8.0;
const TOP: f64 = 18.0;
const BOTTOM: f64 = 108.0;
/// Samples that are further apart are not joined: nobody looked in between.
const GAP_MS: u64 = 90_000;

/// What there was and what of it was used, at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Use {
    pub(crate) at_ms: u64,
    pub(crate) used: u64,
    pub(crate) total: u64,
}

/// Use from `from_ms` to `to_ms`, the total as a line above. `most` is what the highest total is in words, and `marks`
/// stand below, evenly.
pub(crate) fn usage(label: &str, points: &[Use], from_ms: u64, to_ms: u64, most: &str, marks: &[&str]) -> Html {
    let axis = Axis::new(from_ms, to_ms, LEFT, AREA.width - 2.0 * LEFT);
    let highest = points.iter().map(|point| point.total.max(point.used)).max().unwrap_or(0).max(1);
    let y = |figure: u64| BOTTOM - (BOTTOM - TOP) * (figure as f64) / (highest as f64);
    let (from, to) = (Point { x: LEFT, y: TOP }, Point { x: AREA.width - LEFT, y: TOP });
    let mut parts = vec![
        line("grid", from, to),
        line("grid", Point { y: BOTTOM, ..from }, Point { y: BOTTOM, ..to }),
        line("grid faint", Point { y: TOP.midpoint(BOTTOM), ..from }, Point { y: TOP.midpoint(BOTTOM), ..to }),
        caption("scale", Point { x: LEFT, y: TOP - 5.0 }, most),
    ];
    for run in points.chunk_by(|one, next| next.at_ms.saturating_sub(one.at_ms) <= GAP_MS) {
        parts.push(path("area", &area(run, &axis, y)));
        parts.push(path("total", &steps(run, &axis, |point| y(point.total))));
    }
    let spaces = (marks.len().max(2) - 1) as f64;
    for (index, mark) in marks.iter().enumerate() {
        let class = match index {
            0 => "mark first",
            last if last + 1 == marks.len() => "mark last",
            _ => "mark",
        };
        let x = LEFT + (AREA.width - 2.0 * LEFT) * (index as f64) / spaces;
        parts.push(caption(class, Point { x, y: BOTTOM + 18.0 }, mark));
    }
    svg("usage", "img", label, AREA, &parts)
}

fn area(run: &[Use], axis: &Axis, y: impl Fn(u64) -> f64) -> String {
    let mut commands = steps(run, axis, |point| y(point.used));
    let ends = run.first().zip(run.last());
    if let Some((first, last)) = ends {
        let (left, right) = (coordinate(axis.x(first.at_ms)), coordinate(axis.x(last.at_ms)));
        commands.push_str(&format!("L{right} {bottom}L{left} {bottom}z", bottom = coordinate(BOTTOM)));
    }
    commands
}

/// Each figure holds until the next.
fn steps(run: &[Use], axis: &Axis, y: impl Fn(&Use) -> f64) -> String {
    let mut commands = String::new();
    let mut height = None;
    for point in run {
        let (x, now) = (coordinate(axis.x(point.at_ms)), coordinate(y(point)));
        match &height {
            None => commands.push_str(&format!("M{x} {now}")),
            Some(before) if *before == now => continue,
            Some(_) => commands.push_str(&format!("H{x}V{now}")),
        }
        height = Some(now);
    }
    if let Some(last) = run.last() {
        commands.push_str(&format!("H{}", coordinate(axis.x(last.at_ms))));
    }
    commands
}

/// Bars side by side, each with its name below and its figure above.
pub(crate) fn histogram(label: &str, buckets: &[(String, u64)]) -> Html {
    const COLUMN: f64 = 68.0;
    const HEIGHT: f64 = 96.0;
    let most = buckets.iter().map(|(_, figure)| *figure).max().unwrap_or(0).max(1);
    let width = COLUMN * (buckets.len() as f64);
    let bottom = HEIGHT + 16.0;
    let mut parts = vec![line("grid", Point { x: 0.0, y: bottom }, Point { x: width, y: bottom })];
    let mut left = 0.0;
    for (name, figure) in buckets {
        let middle = left + COLUMN / 2.0;
        if *figure > 0 {
            let height = (HEIGHT * (*figure as f64) / (most as f64)).max(2.0);
            let corner = Point { x: left + 7.0, y: bottom - height };
            let words = lake_proto::quantity::count(*figure);
            parts.push(rectangle("column", corner, Size { width: COLUMN - 14.0, height }, &format!("{name}: {words}")));
            parts.push(caption("figure", Point { x: middle, y: corner.y - 4.0 }, &words));
        }
        parts.push(caption("mark", Point { x: middle, y: bottom + 15.0 }, name));
        left += COLUMN;
    }
    svg("histogram", "img", label, Size { width, height: bottom + 22.0 }, &parts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn use_is_drawn_in_steps_and_not_where_nobody_looked() {
        let at = |at_ms, used| Use { at_ms, used, total: 4 };
        let points = [at(0, 0), at(60_000, 0), at(120_000, 2), at(1_800_000, 4), at(1_860_000, 4)];
        let drawn = usage("Cores", &points, 0, 3_600_000, "4 cores", &["−60 min", "−30 min", "now"]).into_string();
        assert_eq!(drawn.matches("class=\"area\"").count(), 2, "{drawn}");
        assert!(drawn.contains("d=\"M8 108H26.1V63H26.1L26.1 108L8 108z\""), "{drawn}");
        assert!(drawn.contains(">4 cores</text>") && drawn.contains("class=\"mark last\""), "{drawn}");
        let none = usage("Cores", &[], 0, 3_600_000, "0 cores", &["now"]).into_string();
        assert!(!none.contains("class=\"area\""), "{none}");
    }

    #[test]
    fn a_bucket_that_is_not_empty_is_seen() {
        let buckets = [("≤ 1 MiB".to_owned(), 1), ("> 1 GiB".to_owned(), 100_000), ("x".to_owned(), 0)];
        let drawn = histogram("Files", &buckets).into_string();
        assert!(drawn.contains("height=\"2\"") && drawn.contains(">100,000</text>"), "{drawn}");
        assert_eq!(drawn.matches("class=\"column\"").count(), 2);
    }
}
