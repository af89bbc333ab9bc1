//! What a stage does: in a few words for messages, and operator by operator for its record. Pure.

use std::sync::Arc;

use datafusion::physical_plan::{ExecutionPlan, displayable};
use lake_record::OperatorRecord;

/// More of them are not named.
const MOST: usize = 12;
/// Operators of a stage's record; of larger plans no worker tells what they did.
const MOST_RECORDED: usize = 500;
/// Of an operator's line.
const DETAIL_CHARS: usize = 300;
/// What stands in the master's plan where a task reads what other stages wrote.
const UNRESOLVED: &str = "UnresolvedShuffleExec";
const READER: &str = "ShuffleReaderExec";

/// The names of the plan's operators from its root on, each once. Nothing of the user's is in a name: no column, no
/// condition, no path. Shuffle writers and readers are left out, because every stage has them.
pub(crate) fn operators(plan: &Arc<dyn ExecutionPlan>) -> String {
    let mut names = Vec::new();
    collect(plan, &mut names);
    let is_cut = names.len() > MOST;
    names.truncate(MOST);
    if is_cut {
        names.push("…".to_owned());
    }
    names.join(", ")
}

/// The plan's operators from its root on, inputs after their consumer, without the shuffle writer: as a task of it tells
/// what they did. Plans have no credentials.
pub(crate) fn outline(plan: &Arc<dyn ExecutionPlan>) -> Vec<OperatorRecord> {
    let mut found = Vec::new();
    match plan.children().as_slice() {
        [only] if plan.name().contains("ShuffleWriter") => describe(only, 0, &mut found),
        _ => describe(plan, 0, &mut found),
    }
    found
}

fn describe(plan: &Arc<dyn ExecutionPlan>, depth: u32, found: &mut Vec<OperatorRecord>) {
    if found.len() >= MOST_RECORDED {
        return;
    }
    let name = if plan.name() == UNRESOLVED { READER } else { plan.name() };
    let line = displayable(plan.as_ref()).one_line().to_string();
    let detail = match line.trim().strip_prefix(UNRESOLVED) {
        Some(rest) => format!("{READER}{rest}"),
        None => line.trim().to_owned(),
    };
    found.push(OperatorRecord { depth, name: name.to_owned(), detail: cut(detail), ..OperatorRecord::default() });
    for child in plan.children() {
        describe(child, depth + 1, found);
    }
}

fn cut(mut line: String) -> String {
    if let Some((end, _)) = line.char_indices().nth(DETAIL_CHARS) {
        line.truncate(end);
        line.push('…');
    }
    line
}

fn collect(plan: &Arc<dyn ExecutionPlan>, names: &mut Vec<String>) {
    let name = plan.name();
    if !name.contains("Shuffle") && !names.iter().any(|known| known == name) {
        names.push(name.to_owned());
    }
    for child in plan.children() {
        collect(child, names);
    }
}

#[cfg(test)]
mod tests {
    use arrow::datatypes::{DataType, Field, Schema};
    use ballista_core::execution_plans::{ShuffleWriterExec, UnresolvedShuffleExec};
    use datafusion::physical_plan::Partitioning;
    use datafusion::physical_plan::coalesce_partitions::CoalescePartitionsExec;
    use datafusion::physical_plan::projection::ProjectionExec;

    use super::*;

    #[test]
    fn an_outline_begins_below_the_writer_and_has_readers_where_stages_are_read() {
        let schema = Arc::new(Schema::new(vec![Field::new("a", DataType::Int64, true)]));
        let read = UnresolvedShuffleExec::new(7, schema.clone(), Partitioning::UnknownPartitioning(4));
        let long = "x".repeat(400);
        let column = datafusion::physical_expr::expressions::col("a", &schema).unwrap();
        let projected = ProjectionExec::try_new(vec![(column, long)], Arc::new(read)).unwrap();
        let plan: Arc<dyn ExecutionPlan> = Arc::new(CoalescePartitionsExec::new(Arc::new(projected)));
        let writer = ShuffleWriterExec::try_new("q1".into(), 8, plan.clone(), String::new()).unwrap();
        let writer: Arc<dyn ExecutionPlan> = Arc::new(writer);
        let outline = outline(&writer);
        let told: Vec<(u32, &str)> = outline.iter().map(|operator| (operator.depth, operator.name.as_str())).collect();
        assert_eq!(told, [(0, "CoalescePartitionsExec"), (1, "ProjectionExec"), (2, "ShuffleReaderExec")]);
        assert!(outline[2].detail.starts_with("ShuffleReaderExec: stage=7"), "{}", outline[2].detail);
        assert_eq!(outline[1].detail.chars().count(), DETAIL_CHARS + 1);
        assert_eq!(super::outline(&plan), outline, "an uncut plan has no writer");
    }
}
