//! Drawings as SVG: graphs of boxes and arrows, bars over time, small charts. Pure. Places and lengths are attributes;
//! colours are classes of `drawing.css`, and whatever they say is also said in words.

pub(crate) mod axis;
pub(crate) mod bars;
pub(crate) mod charts;
pub(crate) mod graph;
pub(crate) mod strip;
pub(crate) mod tracks;

use crate::html::{Html, element, text};
use crate::layout::{Point, Size};

/// A drawing of this size that shrinks with its place. `role` is `img` for one that is one picture, `group` for one with
/// links inside.
pub(crate) fn svg(class: &str, role: &str, label: &str, size: Size, parts: &[Html]) -> Html {
    let (width, height) = (coordinate(size.width), coordinate(size.height));
    let view = format!("0 0 {width} {height}");
    let attributes = [
        ("class", class),
        ("viewBox", view.as_str()),
        ("width", width.as_str()),
        ("height", height.as_str()),
        ("role", role),
        ("aria-label", label),
    ];
    element("svg", &attributes, parts)
}

/// At most one decimal, and none of a whole number.
pub(crate) fn coordinate(value: f64) -> String {
    let text = format!("{value:.1}");
    match text.strip_suffix(".0") {
        Some("-0") => "0".to_owned(),
        Some(whole) => whole.to_owned(),
        None => text,
    }
}

/// A rectangle, with a hint that is shown where the mouse is.
pub(crate) fn rectangle(class: &str, corner: Point, size: Size, hint: &str) -> Html {
    let (x, y, width, height) =
        (coordinate(corner.x), coordinate(corner.y), coordinate(size.width), coordinate(size.height));
    let attributes = [("class", class), ("x", &x), ("y", &y), ("width", &width), ("height", &height)];
    element("rect", &attributes, &hint_of(hint))
}

/// Text at a point, in a class that says how it is aligned.
pub(crate) fn caption(class: &str, at: Point, content: &str) -> Html {
    element("text", &[("class", class), ("x", &coordinate(at.x)), ("y", &coordinate(at.y))], &[text(content)])
}

/// A line or a shape, by the commands of SVG.
pub(crate) fn path(class: &str, commands: &str) -> Html {
    element("path", &[("class", class), ("d", commands)], &[])
}

/// A straight line.
pub(crate) fn line(class: &str, from: Point, to: Point) -> Html {
    path(class, &format!("M{} {}L{} {}", coordinate(from.x), coordinate(from.y), coordinate(to.x), coordinate(to.y)))
}

pub(crate) fn hint_of(hint: &str) -> Vec<Html> {
    if hint.is_empty() { Vec::new() } else { vec![element("title", &[], &[text(hint)])] }
}

/// At most so many characters; what is cut off is told by an ellipsis.
pub(crate) fn cut(content: &str, most: usize) -> String {
    if content.chars().count() <= most {
        return content.to_owned();
    }
    let mut short: String = content.chars().take(most.saturating_sub(1)).collect();
    short.push('…');
    short
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn coordinates_are_short() {
        let texts = [0.0, -0.01, 12.0, 12.34, 12.96, -3.5].map(coordinate);
        assert_eq!(texts, ["0", "0", "12", "12.3", "13", "-3.5"]);
    }

    #[test]
    fn long_names_are_cut_between_characters() {
        assert_eq!([cut("größe", 5), cut("größen", 5), cut("", 5)], ["größe", "größ…", ""]);
    }

    #[test]
    fn hints_and_captions_are_escaped() {
        let at = Point { x: 1.0, y: 2.5 };
        let drawn = rectangle("bar", at, Size { width: 3.0, height: 4.0 }, "<b>").into_string();
        assert_eq!(
            drawn,
            "<rect class=\"bar\" x=\"1\" y=\"2.5\" width=\"3\" height=\"4\"><title>&lt;b&gt;</title></rect>"
        );
        assert_eq!(caption("c", at, "<b>").into_string(), "<text class=\"c\" x=\"1\" y=\"2.5\">&lt;b&gt;</text>");
    }
}
