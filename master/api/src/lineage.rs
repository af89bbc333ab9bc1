//! Which tables are made of which sources and tables, over all jobs that are known. Ours. Pure.

use std::collections::{BTreeMap, BTreeSet};

use lake_proto::Fault;
use lake_record::story::Runs;
use schemars::JsonSchema;
use serde::Serialize;

use crate::Part;
use crate::failure::unknown_table;
use crate::parameter::{Kind, Parameter, Query};
use crate::step::kind_of;

/// One table and what is connected with it.
pub const TABLE: Parameter = Parameter {
    name: "table",
    kind: Kind::Text,
    about: "Name or location of a table: only what it is made of, and what is made of it, directly or through others.",
};

/// A graph: sources and tables, and the steps between them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Lineage {
    /// What the edges connect, and tables without an edge.
    pub nodes: Vec<Node>,
    /// The part of the edges that was asked for.
    pub edges: Vec<Edge>,
}

/// A source or a table.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
pub struct Node {
    /// Its location.
    pub id: String,
    /// Its name in the job that wrote or read it last.
    pub name: String,
    /// `source` or `table`.
    pub kind: &'static str,
}

/// A step reads one thing and writes another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Edge {
    /// Location of what it reads.
    pub from: String,
    /// Location of the table that it writes.
    pub to: String,
    /// The job.
    pub job_name: String,
    /// The last application of the job that did it.
    pub app_id: String,
    /// The state of its step.
    pub state: String,
    /// When it had ended; 0 = it has not.
    pub ended_at_ms: u64,
}

/// The graph, with a part of its edges, and how many edges there are.
///
/// # Errors
/// `not-found/no-such-table`; `invalid-job/parameter` for a page that is none.
pub fn of(runs: &Runs, query: &Query) -> Result<(Lineage, usize), Fault> {
    let page = query.page()?;
    let (mut nodes, mut edges) = graph(runs);
    if let Some(table) = query.text(&TABLE) {
        let is_it = |node: &&Node| node.id == table || node.name == table;
        let start: BTreeSet<String> = nodes.values().filter(is_it).map(|node| node.id.clone()).collect();
        if start.is_empty() {
            return Err(unknown_table(table));
        }
        let connected = connected(&start, &edges);
        nodes.retain(|id, _| connected.contains(*id));
        edges.retain(|edge| connected.contains(&edge.from) && connected.contains(&edge.to));
    }
    let ends = |edges: &[Edge]| -> BTreeSet<String> {
        edges.iter().flat_map(|edge| [edge.from.clone(), edge.to.clone()]).collect()
    };
    let has_edge = ends(&edges);
    let Part { items: edges, total } = Part::of(edges, page);
    let shown = ends(&edges);
    // What has no edge is on the first page.
    let is_shown = |node: &&Node| shown.contains(&node.id) || (page.offset == 0 && !has_edge.contains(&node.id));
    let nodes = nodes.values().filter(is_shown).take(2 * page.limit).cloned().collect();
    Ok((Lineage { nodes, edges }, total))
}

fn graph(runs: &Runs) -> (BTreeMap<&str, Node>, Vec<Edge>) {
    let mut nodes: BTreeMap<&str, Node> = BTreeMap::new();
    let mut edges: BTreeMap<(&str, &str, &str), Edge> = BTreeMap::new();
    let node = |id: &str, name: &str, kind| Node { id: id.to_owned(), name: name.to_owned(), kind };
    // Whoever writes a table says its name; what readers call it counts for what nobody writes.
    for step in runs.iter().flat_map(|(_, steps)| steps.iter()).filter(|step| !step.location.is_empty()) {
        nodes.entry(&step.location).or_insert_with(|| node(&step.location, &step.table, "table"));
    }
    for (application, steps) in runs {
        for step in steps.iter().filter(|step| !step.location.is_empty()) {
            for read in step.reads.iter().filter(|read| !read.location.is_empty()) {
                nodes.entry(&read.location).or_insert_with(|| node(&read.location, &read.name, kind_of(read)));
                edges.entry((&step.location, &read.location, &application.job_name)).or_insert_with(|| Edge {
                    from: read.location.clone(),
                    to: step.location.clone(),
                    job_name: application.job_name.clone(),
                    app_id: application.app_id.clone(),
                    state: step.state.clone(),
                    ended_at_ms: step.ended_at_ms,
                });
            }
        }
    }
    (nodes, edges.into_values().collect())
}

/// `start`, all that it is made of, and all that is made of it.
fn connected(start: &BTreeSet<String>, edges: &[Edge]) -> BTreeSet<String> {
    let mut connected = start.clone();
    let ups = edges.iter().map(|edge| (edge.to.as_str(), edge.from.as_str()));
    let downs = edges.iter().map(|edge| (edge.from.as_str(), edge.to.as_str()));
    for ways in [ups.collect::<Vec<_>>(), downs.collect()] {
        let mut next: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for (here, there) in ways {
            next.entry(here).or_default().push(there);
        }
        let mut open: Vec<&str> = start.iter().map(String::as_str).collect();
        let mut seen: BTreeSet<&str> = open.iter().copied().collect();
        while let Some(here) = open.pop() {
            for there in next.get(here).into_iter().flatten().copied() {
                if seen.insert(there) {
                    open.push(there);
                }
            }
        }
        connected.extend(seen.into_iter().map(str::to_owned));
    }
    connected
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use lake_record::{ApplicationSummary, ReadRecord, StepRecord};

    use super::*;
    use crate::example;

    type Run = (Arc<ApplicationSummary>, Arc<[StepRecord]>);

    /// The example, an earlier run of it, and a job of its own that nothing is connected with.
    fn runs() -> Vec<Run> {
        let older = ApplicationSummary { app_id: "app-0".to_owned(), ..example::summary() };
        let island = StepRecord { table: "a.b".to_owned(), location: "s3://a/b".to_owned(), ..StepRecord::default() };
        vec![
            (Arc::new(example::summary()), Arc::from([example::bronze(), example::silver()])),
            (Arc::new(older.clone()), Arc::from([example::bronze()])),
            (Arc::new(older), Arc::from([island])),
        ]
    }

    fn graph_of(runs: &Runs, written: &str) -> (Vec<String>, Vec<String>) {
        let (lineage, _) = of(runs, &Query::of(written)).unwrap();
        let nodes = lineage.nodes.iter().map(|node| format!("{} {}", node.kind, node.name)).collect();
        let edges = lineage.edges.iter().map(|edge| format!("{} > {} {}", edge.from, edge.to, edge.app_id)).collect();
        (nodes, edges)
    }

    #[test]
    fn steps_connect_what_they_read_with_what_they_write() {
        let (nodes, edges) = graph_of(&runs(), "");
        assert_eq!(nodes, ["table a.b", "table bronze.orders", "table silver.orders", "source orders_landing"]);
        // Of two runs of a job, the newer one is told.
        assert_eq!(
            edges,
            [
                "s3://landing/orders/ > s3://lake/bronze/orders app-20261121093012-0001",
                "s3://lake/bronze/orders > s3://lake/silver/orders app-20261121093012-0001",
            ]
        );
    }

    #[test]
    fn a_table_has_what_it_is_made_of_and_what_is_made_of_it_but_not_their_other_ends() {
        let sibling = StepRecord {
            table: "silver.other".to_owned(),
            location: "s3://lake/silver/other".to_owned(),
            reads: vec![ReadRecord { location: "s3://landing/orders/".to_owned(), ..ReadRecord::default() }],
            ..StepRecord::default()
        };
        let mut runs = runs();
        runs.push((Arc::new(example::summary()), Arc::from([sibling])));
        let (nodes, edges) = graph_of(&runs, "table=bronze.orders");
        assert_eq!((nodes.len(), edges.len()), (3, 2));
        let (nodes, _) = graph_of(&runs, "table=s3://lake/silver/orders");
        assert_eq!(nodes.len(), 3);
        assert_eq!(graph_of(&runs, "table=a.b"), (vec!["table a.b".to_owned()], vec![]));
        assert_eq!(of(&runs, &Query::of("table=none")).unwrap_err().code, "no-such-table");
    }

    #[test]
    fn a_part_has_the_nodes_of_its_edges_and_circles_end() {
        let (nodes, edges) = graph_of(&runs(), "offset=1&limit=1");
        assert_eq!((nodes, edges.len()), (vec!["table bronze.orders".to_owned(), "table silver.orders".to_owned()], 1));
        assert_eq!(of(&runs(), &Query::of("limit=1")).unwrap().1, 2);
        let mut circle = example::bronze();
        circle.reads = vec![ReadRecord { location: "s3://lake/silver/orders".to_owned(), ..ReadRecord::default() }];
        let runs: [Run; 1] = [(Arc::new(example::summary()), Arc::from([circle, example::silver()]))];
        assert_eq!(graph_of(&runs, "table=silver.orders").1.len(), 2);
    }
}
