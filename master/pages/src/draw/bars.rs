//! What happened when: one lane below the other, bars from start to end. Pure.

use super::axis::Axis;
use super::{caption, cut, hint_of, line, rectangle, svg};
use crate::html::{Html, element, text};
use crate::layout::{Point, Size};

const LABELS: f64 = 230.0;
const WIDTH: f64 = 1_160.0;
const HEAD: f64 = 24.0;
const LABEL_LETTERS: usize = 32;

/// A span of time in a lane.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Bar {
    pub(crate) start_ms: u64,
    pub(crate) end_ms: u64,
    /// How it looks.
    pub(crate) class: String,
    /// All that is to be said of it.
    pub(crate) hint: String,
}

/// Bars that belong together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Lane {
    pub(crate) label: String,
    pub(crate) href: Option<String>,
    /// It is a part of the lane above it.
    pub(crate) is_part: bool,
    pub(crate) bars: Vec<Bar>,
    /// Stands behind the last bar.
    pub(crate) remark: String,
}

/// Lanes over the time from `from_ms` to `to_ms`.
pub(crate) fn bars(label: &str, lanes: &[Lane], from_ms: u64, to_ms: u64) -> Html {
    let heights = lanes.iter().map(lane_height);
    let height = HEAD + heights.sum::<f64>() + 6.0;
    // Remarks of bars that end last need room too.
    let axis = Axis::new(from_ms, to_ms, LABELS, WIDTH - LABELS - 160.0);
    let mut parts = axis.marks(HEAD, height);
    let mut top = HEAD;
    for lane in lanes {
        if !lane.is_part {
            parts.push(line("grid", Point { x: 0.0, y: top }, Point { x: WIDTH, y: top }));
        }
        parts.push(drawn(lane, &axis, top));
        top += lane_height(lane);
    }
    svg("bars", "group", label, Size { width: WIDTH, height }, &parts)
}

const fn lane_height(lane: &Lane) -> f64 {
    if lane.is_part { 17.0 } else { 26.0 }
}

fn drawn(lane: &Lane, axis: &Axis, top: f64) -> Html {
    let height = lane_height(lane);
    let (indent, thickness) = if lane.is_part { (16.0, 8.0) } else { (0.0, 14.0) };
    let baseline = top + height / 2.0 + 4.0;
    let class = if lane.is_part { "lane part" } else { "lane" };
    let name = element(
        "text",
        &[("class", class), ("x", &super::coordinate(indent)), ("y", &super::coordinate(baseline))],
        &{
            let mut parts = vec![text(cut(&lane.label, LABEL_LETTERS))];
            parts.extend(hint_of(&lane.label));
            parts
        },
    );
    let mut parts = vec![match &lane.href {
        Some(href) => element("a", &[("href", href)], &[name]),
        None => name,
    }];
    let mut end = axis.x(0);
    for bar in &lane.bars {
        let (left, width) = axis.bar(bar.start_ms, bar.end_ms);
        let corner = Point { x: left, y: top + (height - thickness) / 2.0 };
        parts.push(rectangle(&bar.class, corner, Size { width, height: thickness }, &bar.hint));
        end = end.max(left + width);
    }
    if !lane.remark.is_empty() {
        parts.push(caption("remark", Point { x: end + 6.0, y: baseline }, &lane.remark));
    }
    element("g", &[], &parts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lanes_have_names_links_and_bars_with_hints() {
        let bar = Bar { start_ms: 1_000, end_ms: 3_000, class: "bar run".to_owned(), hint: "<x> 2.0 s".to_owned() };
        let lanes = [
            Lane {
                label: "<silver>".to_owned(),
                href: Some("#step-1".to_owned()),
                is_part: false,
                bars: vec![bar],
                remark: "2.0 s".to_owned(),
            },
            Lane { label: "stage 1".to_owned(), href: None, is_part: true, bars: Vec::new(), remark: String::new() },
        ];
        let drawn = bars("What ran when", &lanes, 1_000, 5_000).into_string();
        assert!(drawn.contains("<a href=\"#step-1\"><text class=\"lane\""), "{drawn}");
        assert!(drawn.contains("&lt;silver&gt;") && drawn.contains("<title>&lt;x&gt; 2.0 s</title>"), "{drawn}");
        assert!(drawn.contains("class=\"bar run\" x=\"230\"") && drawn.contains("width=\"385\""), "{drawn}");
        assert!(!drawn.contains("<silver>"), "{drawn}");
    }
}
