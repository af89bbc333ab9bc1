//! Time from left to right. Pure.

use super::{caption, line};
use crate::html::{Html, duration};
use crate::layout::Point;

/// Between two marks, in milliseconds: figures that people count in.
const STEPS: [u64; 24] = [
    1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000, 30_000, 60_000, 120_000, 300_000, 600_000,
    1_800_000, 3_600_000, 7_200_000, 21_600_000, 43_200_000, 86_400_000,
];
const MOST_MARKS: u64 = 9;

/// A span of time in a span of a drawing.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Axis {
    from_ms: u64,
    span_ms: u64,
    left: f64,
    width: f64,
}

impl Axis {
    pub(crate) fn new(from_ms: u64, to_ms: u64, left: f64, width: f64) -> Self {
        Self { from_ms, span_ms: to_ms.saturating_sub(from_ms).max(1), left, width }
    }

    /// Where a moment is; one that is outside is at the end.
    pub(crate) fn x(&self, at_ms: u64) -> f64 {
        let passed = at_ms.saturating_sub(self.from_ms).min(self.span_ms);
        self.left + self.width * (passed as f64) / (self.span_ms as f64)
    }

    /// Left end and width of a span, wide enough to be seen.
    pub(crate) fn bar(&self, start_ms: u64, end_ms: u64) -> (f64, f64) {
        let (start, end) = (self.x(start_ms), self.x(end_ms.max(start_ms)));
        (start.min(self.left + self.width - 1.0), (end - start).max(1.0))
    }

    /// Lines with their times since the start, from `top` to `bottom`; the words stand above the top.
    pub(crate) fn marks(&self, top: f64, bottom: f64) -> Vec<Html> {
        let mut parts = Vec::new();
        let step = self.step_ms();
        let mut passed = 0;
        while passed <= self.span_ms {
            let x = self.x(self.from_ms.saturating_add(passed));
            parts.push(line("grid", Point { x, y: top }, Point { x, y: bottom }));
            parts.push(caption("mark", Point { x, y: top - 6.0 }, &spoken(passed)));
            passed = passed.saturating_add(step);
        }
        parts
    }

    fn step_ms(&self) -> u64 {
        let found = STEPS.into_iter().find(|step| self.span_ms / step <= MOST_MARKS);
        found.unwrap_or_else(|| (self.span_ms / MOST_MARKS).max(1).next_multiple_of(86_400_000))
    }
}

/// Whole figures without a decimal that is always 0.
fn spoken(ms: u64) -> String {
    match ms {
        0 => "0".to_owned(),
        1_000..60_000 if ms.is_multiple_of(1_000) => format!("{} s", ms / 1_000),
        60_000..3_600_000 if ms.is_multiple_of(60_000) => format!("{} min", ms / 60_000),
        3_600_000..86_400_000 if ms.is_multiple_of(3_600_000) => format!("{} h", ms / 3_600_000),
        86_400_000.. if ms.is_multiple_of(86_400_000) => format!("{} d", ms / 86_400_000),
        other => duration(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_outside_are_at_the_ends_and_nothing_is_too_narrow_to_see() {
        let axis = Axis::new(1_000, 2_000, 100.0, 500.0);
        assert_eq!([axis.x(0), axis.x(1_000), axis.x(1_500), axis.x(9_000)], [100.0, 100.0, 350.0, 600.0]);
        assert_eq!(axis.bar(1_500, 1_500), (350.0, 1.0));
        assert_eq!(axis.bar(2_000, 2_000), (599.0, 1.0));
        assert_eq!(axis.bar(1_500, 1_400), (350.0, 1.0));
    }

    #[test]
    fn there_are_a_few_marks_whatever_the_span() {
        for span in [0, 1, 7, 950, 61_000, 3_700_000, 90_000_000, 86_400_000 * 400, u64::MAX / 4] {
            let marks = Axis::new(5, 5 + span, 0.0, 100.0).marks(10.0, 20.0);
            assert!(marks.len() <= 2 * 11, "{span}: {}", marks.len());
            assert!(marks.len() >= 2, "{span}");
        }
        let words = [0, 5_000, 300, 120_000, 7_200_000, 172_800_000, 90_000].map(spoken);
        assert_eq!(words, ["0", "5 s", "300 ms", "2 min", "2 h", "2 d", "1 min 30 s"]);
    }
}
