//! Graphs: boxes with a few words each, and arrows from left to right. Pure.

use super::{caption, coordinate, cut, hint_of, path, svg};
use crate::html::{Html, element, text};
use crate::layout::{Point, Size, layout};

const MARGIN: f64 = 6.0;
// Of the widest font among those that systems have for their own words.
const LETTER: f64 = 8.4;
const SMALL_LETTER: f64 = 6.9;
const MOST_LETTERS: usize = 34;
const LEAST_WIDTH: f64 = 132.0;
const LINE: f64 = 15.0;
/// Room for the mark of the state.
const MARK_WIDTH: f64 = 20.0;

/// What a box stands for, told by its outline beside its colour and its words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    /// Slanted: files or a database.
    Source,
    /// Sharp corners.
    Bronze,
    /// Round corners.
    Silver,
    /// Cut corners.
    Gold,
    /// Anything else.
    Plain,
}

impl Shape {
    /// Of a table, by the schema in its name.
    pub(crate) fn of_table(name: &str) -> Self {
        let schema = name.split_once('.').map_or("", |(schema, _)| schema);
        match schema.to_ascii_lowercase().as_str() {
            "bronze" => Self::Bronze,
            "silver" => Self::Silver,
            "gold" => Self::Gold,
            _ => Self::Plain,
        }
    }

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Source => "source",
            Self::Bronze => "bronze",
            Self::Silver => "silver",
            Self::Gold => "gold",
            Self::Plain => "table",
        }
    }
}

/// A box of a graph.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Node {
    pub(crate) shape: Shape,
    /// What it is, in small letters above its name.
    pub(crate) kind: String,
    pub(crate) name: String,
    /// Below its name.
    pub(crate) lines: Vec<String>,
    pub(crate) href: Option<String>,
    /// Class of its state, and a letter or sign for it.
    pub(crate) state: (&'static str, &'static str),
    /// Nothing of this picture writes it.
    pub(crate) is_outside: bool,
}

/// An arrow between boxes by position.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Arrow {
    pub(crate) from: usize,
    pub(crate) to: usize,
    pub(crate) hint: String,
}

/// The class and the sign of a state.
pub(crate) fn sign(state: &str) -> (&'static str, &'static str) {
    match state {
        "COMMITTED" | "FINISHED" | "SKIPPED" => ("good", "✓"),
        "RUNNING" | "COMMITTING" => ("run", "▶"),
        "FAILED" | "ERROR" => ("bad", "✕"),
        "FENCED" | "UNKNOWN" => ("warn", "!"),
        "CANCELLED" | "KILLED" => ("calm", "■"),
        "NOT_RUN" => ("calm", "–"),
        "" => ("", ""),
        _ => ("calm", "○"),
    }
}

/// The graph in a place that scrolls by itself.
pub(crate) fn graph(label: &str, nodes: &[Node], arrows: &[Arrow]) -> Html {
    let sizes: Vec<Size> = nodes.iter().map(size).collect();
    let pairs: Vec<(usize, usize)> = arrows.iter().map(|arrow| (arrow.from, arrow.to)).collect();
    let layout = layout(&sizes, &pairs);
    let mut parts = vec![arrow_head()];
    for (arrow, route) in arrows.iter().zip(&layout.routes) {
        if let Some(commands) = curve(route) {
            let line = [("class", "arrow"), ("d", commands.as_str()), ("marker-end", "url(#head)")];
            parts.push(element("path", &line, &hint_of(&arrow.hint)));
        }
    }
    for ((node, size), corner) in nodes.iter().zip(&sizes).zip(&layout.corners) {
        parts.push(drawn(node, *size, Point { x: corner.x + MARGIN, y: corner.y + MARGIN }));
    }
    let whole = Size { width: layout.size.width + 2.0 * MARGIN, height: layout.size.height + 2.0 * MARGIN };
    crate::html::scroll(label, svg("graph", "group", label, whole, &parts))
}

fn arrow_head() -> Html {
    let attributes = [
        ("id", "head"),
        ("viewBox", "0 0 8 8"),
        ("refX", "7"),
        ("refY", "4"),
        ("markerWidth", "8"),
        ("markerHeight", "8"),
        ("orient", "auto"),
    ];
    element("defs", &[], &[element("marker", &attributes, &[path("head", "M0 .8L7.5 4L0 7.2z")])])
}

fn size(node: &Node) -> Size {
    let letters = |content: &str| cut(content, MOST_LETTERS).chars().count() as f64;
    let name = letters(&node.name) * LETTER;
    let kind = letters(&node.kind) * SMALL_LETTER + MARK_WIDTH;
    let lines = node.lines.iter().map(|line| letters(line) * SMALL_LETTER);
    let width = lines.fold(name.max(kind), f64::max) + 26.0;
    Size { width: width.max(LEAST_WIDTH).round(), height: 42.0 + LINE * node.lines.len() as f64 }
}

fn drawn(node: &Node, size: Size, corner: Point) -> Html {
    let (state, sign) = node.state;
    let mut class = format!("box {}", node.shape.name());
    if node.is_outside {
        class.push_str(" outside");
    }
    let left = corner.x + 13.0;
    let mut parts = vec![
        path("shape", &outline(node.shape, size, corner)),
        caption("kind", Point { x: left, y: corner.y + 15.0 }, &cut(&node.kind, MOST_LETTERS)),
        caption("name", Point { x: left, y: corner.y + 31.0 }, &cut(&node.name, MOST_LETTERS)),
    ];
    let mut y = corner.y + 31.0;
    for content in &node.lines {
        y += LINE;
        parts.push(caption("line", Point { x: left, y }, &cut(content, MOST_LETTERS)));
    }
    if !sign.is_empty() {
        let at = Point { x: corner.x + size.width - 15.0, y: corner.y + 17.0 };
        parts.push(caption(&format!("sign {state}"), at, sign));
    }
    let mut words = vec![node.kind.clone(), node.name.clone()];
    words.extend(node.lines.iter().cloned());
    parts.extend(hint_of(&words.join(" · ")));
    let group = element("g", &[("class", &class)], &parts);
    match &node.href {
        Some(href) => element("a", &[("href", href), ("aria-label", &words.join(", "))], &[group]),
        None => group,
    }
}

fn outline(shape: Shape, size: Size, corner: Point) -> String {
    let (left, top) = (corner.x, corner.y);
    let (right, bottom) = (left + size.width, top + size.height);
    let polygon = |points: &[(f64, f64)]| {
        let mut commands = String::new();
        for (index, (x, y)) in points.iter().enumerate() {
            commands.push_str(if index == 0 { "M" } else { "L" });
            commands.push_str(&format!("{} {}", coordinate(*x), coordinate(*y)));
        }
        commands.push('z');
        commands
    };
    match shape {
        Shape::Source => polygon(&[(left + 8.0, top), (right, top), (right - 8.0, bottom), (left, bottom)]),
        Shape::Bronze => polygon(&[(left, top), (right, top), (right, bottom), (left, bottom)]),
        Shape::Gold => {
            let cut = 9.0;
            polygon(&[
                (left + cut, top),
                (right - cut, top),
                (right, top + cut),
                (right, bottom - cut),
                (right - cut, bottom),
                (left + cut, bottom),
                (left, bottom - cut),
                (left, top + cut),
            ])
        }
        Shape::Silver => round(left, top, size, 12.0),
        Shape::Plain => round(left, top, size, 4.0),
    }
}

fn round(left: f64, top: f64, size: Size, radius: f64) -> String {
    let (across, down) = (coordinate(size.width - 2.0 * radius), coordinate(size.height - 2.0 * radius));
    let r = coordinate(radius);
    format!(
        "M{x} {y}h{across}a{r} {r} 0 0 1 {r} {r}v{down}a{r} {r} 0 0 1 -{r} {r}h-{across}a{r} {r} 0 0 1 -{r} -{r}v-{down}\
         a{r} {r} 0 0 1 {r} -{r}z",
        x = coordinate(left + radius),
        y = coordinate(top),
    )
}

/// A line through these points that bends between columns and is straight within them.
fn curve(route: &[Point]) -> Option<String> {
    let shifted = |point: &Point| (point.x + MARGIN, point.y + MARGIN);
    let (first, rest) = route.split_first()?;
    let (mut x, mut y) = shifted(first);
    let mut commands = format!("M{} {}", coordinate(x), coordinate(y));
    for point in rest {
        let (next_x, next_y) = shifted(point);
        if (next_y - y).abs() < 0.05 {
            commands.push_str(&format!("L{} {}", coordinate(next_x), coordinate(next_y)));
        } else {
            let middle = coordinate(x.midpoint(next_x));
            let (from, to) = (coordinate(y), coordinate(next_y));
            commands.push_str(&format!("C{middle} {from} {middle} {to} {} {to}", coordinate(next_x)));
        }
        (x, y) = (next_x, next_y);
    }
    Some(commands)
}

/// What outlines and colours stand for, in words.
pub(crate) fn legend(shapes: &[Shape]) -> Html {
    let mut list = Html::default();
    for shape in shapes {
        let size = Size { width: 26.0, height: 14.0 };
        let mark =
            element("g", &[("class", &format!("box {}", shape.name()))], &[path("shape", &outline_small(*shape))]);
        let picture = svg("key", "img", shape.name(), size, &[mark]);
        list.push(&element("li", &[], &[picture, text(shape.name())]));
    }
    element("ul", &[("class", "legend")], &[list])
}

fn outline_small(shape: Shape) -> String {
    let (size, corner) = (Size { width: 24.0, height: 12.0 }, Point { x: 1.0, y: 1.0 });
    match shape {
        Shape::Source => "M5 1L25 1L21 13L1 13z".to_owned(),
        Shape::Gold => "M5 1L21 1L25 4.5L25 9.5L21 13L5 13L1 9.5L1 4.5z".to_owned(),
        Shape::Silver => round(corner.x, corner.y, size, 5.0),
        Shape::Plain => round(corner.x, corner.y, size, 2.0),
        Shape::Bronze => outline(shape, size, corner),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(name: &str, shape: Shape) -> Node {
        Node {
            shape,
            kind: shape.name().to_owned(),
            name: name.to_owned(),
            lines: vec!["1,234 rows".to_owned()],
            href: Some("#step-1".to_owned()),
            state: sign("COMMITTED"),
            is_outside: false,
        }
    }

    #[test]
    fn a_box_says_what_it_is_in_words_and_by_its_outline() {
        let nodes = [node("<b>", Shape::Bronze), node("gold.x", Shape::Gold)];
        let arrows = [Arrow { from: 0, to: 1, hint: "<v3>".to_owned() }];
        let drawn = graph("Steps", &nodes, &arrows).into_string();
        for expected in [
            "<a href=\"#step-1\" aria-label=\"bronze, &lt;b&gt;, 1,234 rows\">",
            "class=\"box bronze\"",
            "class=\"box gold\"",
            ">gold</text>",
            "<text class=\"sign good\"",
            "<title>&lt;v3&gt;</title>",
            "marker-end=\"url(#head)\"",
        ] {
            assert!(drawn.contains(expected), "{expected} is not in {drawn}");
        }
        assert!(!drawn.contains("<b>"), "{drawn}");
        let outlines: Vec<String> = [Shape::Source, Shape::Bronze, Shape::Silver, Shape::Gold, Shape::Plain]
            .map(|shape| outline(shape, Size { width: 100.0, height: 40.0 }, Point { x: 0.0, y: 0.0 }))
            .to_vec();
        assert!(outlines.iter().enumerate().all(|(index, one)| !outlines[index + 1..].contains(one)), "{outlines:?}");
    }

    #[test]
    fn what_waits_and_what_never_ran_have_signs_of_their_own() {
        let signs = ["PENDING", "NOT_RUN", "KILLED", "FAILED", ""].map(|state| sign(state).1);
        assert_eq!(signs, ["○", "–", "■", "✕", ""]);
    }

    #[test]
    fn the_schema_says_the_layer() {
        let shapes = ["Bronze.a", "silver.b", "gold.c.d", "gold", "raw.x", ""].map(Shape::of_table);
        let expected = [Shape::Bronze, Shape::Silver, Shape::Gold, Shape::Plain, Shape::Plain, Shape::Plain];
        assert_eq!(shapes, expected);
    }

    #[test]
    fn an_arrow_bends_between_columns_only() {
        let at = |x, y| Point { x, y };
        let route = [at(0.0, 10.0), at(50.0, 10.0), at(90.0, 30.0)];
        assert_eq!(curve(&route).unwrap(), "M6 16L56 16C76 16 76 36 96 36");
        assert_eq!(curve(&[]), None);
    }
}
