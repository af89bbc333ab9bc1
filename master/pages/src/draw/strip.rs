//! Small pictures that stand in a line of text: how far something is, how figures lie. Pure.

use super::{coordinate, hint_of, path, rectangle, svg};
use crate::html::{Html, element};
use crate::layout::{Point, Size};

const HEIGHT: f64 = 8.0;
const WIDTH: f64 = 110.0;

/// Parts of a whole, one beside the other, each with its class. The words beside it say the same.
pub(crate) fn progress(parts: &[(&'static str, u64)], whole: u64) -> Html {
    let scale = |figure: u64| WIDTH * (figure as f64) / (whole.max(1) as f64);
    let mut drawn = vec![rectangle("rest", Point { x: 0.0, y: 0.0 }, Size { width: WIDTH, height: HEIGHT }, "")];
    let mut left = 0.0;
    for (class, figure) in parts.iter().filter(|(_, figure)| *figure > 0) {
        let width = scale(*figure).min(WIDTH - left);
        drawn.push(rectangle(class, Point { x: left, y: 0.0 }, Size { width, height: HEIGHT }, ""));
        left += width;
    }
    hidden("progress", Size { width: WIDTH, height: HEIGHT }, &drawn)
}

/// Five figures on a line from 0 to `most`: the span, the middle, and where 95 of 100 are.
pub(crate) fn spread(least: u64, median: u64, p95: u64, most: u64) -> Html {
    let x = |figure: u64| 1.0 + (WIDTH - 2.0) * (figure as f64) / (most.max(1) as f64);
    let span = format!("M{} 7H{}", coordinate(x(least)), coordinate(x(most)));
    let ends = format!("M{} 4v6M{} 4v6", coordinate(x(least)), coordinate(x(most)));
    let body = Size { width: (x(p95) - x(median)).max(1.0), height: 8.0 };
    let parts = [
        path("span", &span),
        path("span", &ends),
        rectangle("upper", Point { x: x(median), y: 3.0 }, body, ""),
        path("median", &format!("M{} 1v12", coordinate(x(median)))),
    ];
    hidden("spread", Size { width: WIDTH, height: 14.0 }, &parts)
}

/// Figures from the oldest to the newest, each between 0 and 1.
pub(crate) fn sparkline(figures: &[f64], hint: &str) -> Html {
    let size = Size { width: WIDTH, height: 22.0 };
    let most = figures.iter().copied().fold(0.0, f64::max);
    let step = (size.width - 6.0) / ((figures.len().max(2) - 1) as f64);
    let y = |figure: f64| 19.0 - if most > 0.0 { 16.0 * figure / most } else { 0.0 };
    let mut commands = String::new();
    let mut parts = vec![path("grid", "M3 19H107")];
    for (index, figure) in figures.iter().enumerate() {
        let at = Point { x: 3.0 + step * (index as f64), y: y(*figure) };
        commands.push_str(if index == 0 { "M" } else { "L" });
        commands.push_str(&format!("{} {}", coordinate(at.x), coordinate(at.y)));
        let class = if *figure > 0.0 { "dot bad" } else { "dot" };
        parts.push(element(
            "circle",
            &[("class", class), ("cx", &coordinate(at.x)), ("cy", &coordinate(at.y)), ("r", "2")],
            &[],
        ));
    }
    if figures.len() > 1 {
        parts.insert(1, path("trend", &commands));
    }
    parts.extend(hint_of(hint));
    svg("sparkline", "img", hint, size, &parts)
}

/// Beside words that say the same.
fn hidden(class: &'static str, size: Size, parts: &[Html]) -> Html {
    let drawn = svg(class, "img", "", size, parts);
    element("span", &[("class", "picture"), ("aria-hidden", "true")], &[drawn])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_fill_the_whole_and_never_more() {
        let drawn = progress(&[("good", 2), ("run", 1), ("bad", 9)], 4).into_string();
        assert!(drawn.contains("class=\"good\" x=\"0\" y=\"0\" width=\"55\""), "{drawn}");
        assert!(drawn.contains("class=\"run\" x=\"55\" y=\"0\" width=\"27.5\""), "{drawn}");
        assert!(drawn.contains("class=\"bad\" x=\"82.5\" y=\"0\" width=\"27.5\""), "{drawn}");
        assert!(!progress(&[("good", 0)], 0).into_string().contains("class=\"good\""));
    }

    #[test]
    fn a_spread_of_nothing_is_drawn_too() {
        assert!(spread(0, 0, 0, 0).into_string().contains("M1 7H1"));
        let drawn = spread(0, 50, 90, 100).into_string();
        assert!(drawn.contains("M55 1v12") && drawn.contains("x=\"55\" y=\"3\" width=\"43.2\""), "{drawn}");
    }

    #[test]
    fn a_sparkline_has_a_point_for_each_figure() {
        let drawn = sparkline(&[0.0, 0.5, 0.25], "of <x>").into_string();
        assert_eq!(drawn.matches("<circle").count(), 3);
        assert_eq!(drawn.matches("dot bad").count(), 2);
        assert!(drawn.contains("<title>of &lt;x&gt;</title>"), "{drawn}");
        assert_eq!(sparkline(&[], "none").into_string().matches("<circle").count(), 0);
    }
}
