//! Tables: the first column names the rows, numbers stand at the right. Pure.

use super::{Html, element, empty, scroll, text};

/// A column by its title.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Column {
    /// Words.
    Text(&'static str),
    /// Figures.
    Number(&'static str),
    /// A moment. The script puts the browser's zone in the place of UTC.
    Instant(&'static str),
    /// Figures by which the rows can be put in order.
    Sorted {
        title: &'static str,
        /// The same page in that order.
        href: String,
        /// As the rows are now.
        order: Order,
    },
}

/// Whether the rows are in the order of a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    No,
    Ascending,
    Descending,
}

impl Column {
    const fn class(&self) -> &'static str {
        match self {
            Self::Text(_) => "",
            Self::Instant(_) => "nowrap",
            Self::Number(_) | Self::Sorted { .. } => "n",
        }
    }

    fn title(&self) -> Html {
        match self {
            Self::Text(title) | Self::Number(title) => text(title),
            Self::Instant(title) => {
                let zone = element("small", &[("class", "zone")], &[text("UTC")]);
                [text(title), text(" "), zone].into_iter().collect()
            }
            Self::Sorted { title, href, order } => {
                let arrow = match order {
                    Order::No => "",
                    Order::Ascending => " ↑",
                    Order::Descending => " ↓",
                };
                element("a", &[("href", href)], &[text(title), text(arrow)])
            }
        }
    }

    fn head(&self) -> Html {
        let mut attributes = vec![("scope", "col")];
        if !self.class().is_empty() {
            attributes.push(("class", self.class()));
        }
        match self {
            Self::Sorted { order: Order::Ascending, .. } => attributes.push(("aria-sort", "ascending")),
            Self::Sorted { order: Order::Descending, .. } => attributes.push(("aria-sort", "descending")),
            Self::Sorted { order: Order::No, .. } | Self::Text(_) | Self::Number(_) | Self::Instant(_) => {}
        }
        element("th", &attributes, &[self.title()])
    }
}

/// A table; nothing but `sentence` when it has no rows. Where it is wider than its page it scrolls, also by keys, and is
/// called `label` there.
pub(crate) fn table(label: &str, columns: &[Column], rows: Vec<Vec<Html>>, sentence: &'static str) -> Html {
    if rows.is_empty() {
        return empty(sentence);
    }
    let head: Html = columns.iter().map(Column::head).collect();
    let mut body = Html::default();
    for row in rows {
        let mut cells = Html::default();
        for (index, (column, content)) in columns.iter().zip(row).enumerate() {
            cells.push(&cell(index == 0, column, content));
        }
        body.push(&element("tr", &[], &[cells]));
    }
    let parts = [element("thead", &[], &[element("tr", &[], &[head])]), element("tbody", &[], &[body])];
    scroll(label, element("table", &[], &parts))
}

fn cell(names_row: bool, column: &Column, content: Html) -> Html {
    let (name, mut attributes) = if names_row { ("th", vec![("scope", "row")]) } else { ("td", Vec::new()) };
    if !column.class().is_empty() {
        attributes.push(("class", column.class()));
    }
    element(name, &attributes, &[content])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_names_its_columns_and_rows_and_is_reached_by_keys() {
        let rows = vec![vec![text("a"), text("1")]];
        let page = table("Things", &[Column::Text("Thing"), Column::Number("Count")], rows, "none").into_string();
        for expected in [
            "<div class=\"scroll\" role=\"region\" aria-label=\"Things\" tabindex=\"0\">",
            "<th scope=\"col\">Thing</th><th scope=\"col\" class=\"n\">Count</th>",
            "<th scope=\"row\">a</th><td class=\"n\">1</td>",
        ] {
            assert!(page.contains(expected), "{expected} is not in {page}");
        }
        assert_eq!(table("Things", &[], vec![], "none").into_string(), "<p class=\"empty\">none</p>");
    }

    #[test]
    fn a_column_of_moments_names_its_zone_and_a_sorted_one_its_order() {
        let sorted = Column::Sorted { title: "Rows", href: "?sort=rows&x".to_owned(), order: Order::Descending };
        let head: String =
            [Column::Instant("Ended"), sorted].iter().map(|column| column.head().into_string()).collect();
        assert!(head.contains("Ended <small class=\"zone\">UTC</small>"), "{head}");
        assert!(head.contains("aria-sort=\"descending\"><a href=\"?sort=rows&amp;x\">Rows ↓</a>"), "{head}");
    }
}
