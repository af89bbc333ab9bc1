//! What every page has around it: head, navigation, the way back. Pure.

use lake_web::{HEAD, MARK, SILENT};

use crate::asked::Bad;
use crate::html::{Html, element, link, text};
use crate::link::route;
use crate::masthead::Masthead;

const NAVIGATION: [(Place, &str, &str); 5] = [
    (Place::Cluster, "Cluster", route::CLUSTER),
    (Place::Tables, "Tables", route::TABLES),
    (Place::Lineage, "Lineage", route::LINEAGE),
    (Place::History, "History", route::HISTORY),
    (Place::Environment, "Environment", route::ENVIRONMENT),
];
const DRAWINGS: &str = "<link rel=\"stylesheet\" href=\"/drawing.css\">";
const FOLLOW: &str = "<script src=\"/follow.js\" defer></script>";

/// The part of the navigation that a page belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    Cluster,
    Tables,
    Lineage,
    History,
    Environment,
}

/// How a page stays fresh.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Freshness {
    /// It is fetched again when something has changed.
    Live,
    /// It shows a log, to which the script appends.
    Log,
    /// It never changes by itself.
    Still,
}

/// One page of a master, without what is around it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    pub(crate) title: String,
    pub(crate) place: Place,
    /// Pages above this one, by label and link, the outermost first.
    pub(crate) above: Vec<(String, String)>,
    pub(crate) body: Html,
    pub(crate) freshness: Freshness,
}

impl Page {
    /// A page that is among those of the navigation.
    pub(crate) const fn top(title: String, place: Place, body: Html) -> Self {
        Self { title, place, above: Vec::new(), body, freshness: Freshness::Live }
    }

    /// The whole document.
    pub fn document(&self, masthead: &Masthead) -> String {
        let mut markup = Html::raw(HEAD);
        markup.push(&Html::raw(DRAWINGS));
        if self.freshness == Freshness::Log {
            markup.push(&Html::raw(FOLLOW));
        }
        markup.push(&element("title", &[], &[text(format!("{} · lake", self.title))]));
        markup.push(&Html::raw("</head><body>"));
        markup.push(&Html::raw("<a class=\"skip\" href=\"#main\">Skip to the content</a>"));
        let name = element("a", &[("class", "brand"), ("href", route::CLUSTER)], &[Html::raw(MARK), text("lake")]);
        markup.push(&element("header", &[], &[name, self.navigation(), masthead.line()]));
        markup.push(&Html::raw(SILENT));
        let live = match self.freshness {
            Freshness::Live => route::EVENTS.trim_start_matches('/'),
            Freshness::Log | Freshness::Still => "off",
        };
        let content = [masthead.notice(), self.way_back(), self.body.clone()];
        markup.push(&element("main", &[("id", "main"), ("data-live", live)], &content));
        markup.push(&Html::raw("</body></html>"));
        markup.into_string()
    }

    fn navigation(&self) -> Html {
        let mut list = Html::default();
        for (place, label, href) in NAVIGATION {
            let mut attributes = vec![("href", href)];
            if place == self.place {
                // The page itself, or one below it.
                attributes.push(("aria-current", if self.above.is_empty() { "page" } else { "true" }));
            }
            list.push(&element("li", &[], &[element("a", &attributes, &[text(label)])]));
        }
        element("nav", &[("class", "pages"), ("aria-label", "Pages")], &[element("ul", &[], &[list])])
    }

    fn way_back(&self) -> Html {
        if self.above.is_empty() {
            return Html::default();
        }
        let mut list: Html = self.above.iter().map(|(label, href)| element("li", &[], &[link(href, label)])).collect();
        list.push(&element("li", &[("aria-current", "page")], &[text(&self.title)]));
        element("nav", &[("class", "crumbs"), ("aria-label", "Breadcrumbs")], &[element("ol", &[], &[list])])
    }
}

/// The answer to a path that is none of ours, or an id that nobody knows.
pub fn missing(message: &str) -> Page {
    trouble("Not found", message)
}

/// The answer to a request that cannot be read.
pub fn bad(why: &Bad) -> Page {
    trouble("Bad request", &format!("{}.", why.0))
}

/// The answer to a form whose request is refused.
pub fn refused(message: &str) -> Page {
    trouble("Refused", message)
}

fn trouble(title: &str, message: &str) -> Page {
    let back = element("p", &[], &[link(route::CLUSTER, "Workers and applications")]);
    let said = element("section", &[], &[element("p", &[], &[text(message)]), back]);
    let body = [element("h1", &[], &[text(title)]), said].into_iter().collect();
    Page {
        title: title.to_owned(),
        place: Place::Cluster,
        above: vec![("Cluster".to_owned(), route::CLUSTER.to_owned())],
        body,
        freshness: Freshness::Still,
    }
}
