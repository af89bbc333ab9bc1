//! What all pieces of a scan share: schemas, projection and the way from SQL's columns to a file's. Pure; travels
//! inside the plan node.

use std::sync::Arc;

use arrow::array::{RecordBatch, RecordBatchOptions};
use arrow::datatypes::{Field, FieldRef, Schema, SchemaRef};
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::error::Result;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::Column;
use serde::{Deserialize, Serialize};
use url::Url;

use crate::EngineError;
use crate::delta::columns::{Columns, Mapping};
use crate::delta::rename::retype;

/// Schemas and projection of one scan.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Layout {
    /// Root of the table.
    pub(super) location: Url,
    /// Columns of the data files: physical names, scan types, all nullable.
    pub(super) file: SchemaRef,
    /// Partition columns: physical names, scan types.
    pub(super) partitions: Vec<FieldRef>,
    /// How columns are found in files.
    pub(super) mapping: Mapping,
    /// The columns wanted, as indices into `file` followed by `partitions`.
    pub(super) projection: Vec<usize>,
    /// What the scan gives: table names, scan types.
    pub(super) output: SchemaRef,
}

impl Layout {
    /// The scan of `projection`, indices into the table's schema.
    pub(super) fn new(location: &Url, columns: &Columns, projection: &[usize]) -> Result<Self> {
        let (mut file, mut partitions) = (Vec::new(), Vec::new());
        let mut positions = Vec::new();
        for (index, column) in columns.list.iter().enumerate() {
            let physical = columns.physical.field(index);
            let scan = columns.scan.field(index).data_type();
            // Only text and bytes differ between the two, and those are never nested.
            let kind = if scan.is_nested() { physical.data_type() } else { scan };
            let field = Field::new(physical.name(), kind.clone(), true).with_metadata(physical.metadata().clone());
            let list = if column.is_partition { &mut partitions } else { &mut file };
            positions.push((column.is_partition, list.len()));
            list.push(Arc::new(field));
        }
        let source_index = |index: &usize| {
            let (is_partition, position) = positions.get(*index).ok_or_else(|| no_column(*index))?;
            Ok(if *is_partition { file.len() + position } else { *position })
        };
        let source = projection.iter().map(source_index).collect::<Result<Vec<_>>>()?;
        let output = Arc::new(columns.scan.project(projection)?);
        Ok(Self {
            location: location.clone(),
            file: Arc::new(Schema::new(file)),
            partitions,
            mapping: columns.mapping,
            projection: source,
            output,
        })
    }

    /// `predicate` over the table's scan schema, turned to physical names and positions; `None` when it uses what
    /// files cannot be asked for.
    pub(super) fn to_source(
        &self,
        predicate: &Arc<dyn PhysicalExpr>,
        columns: &Columns,
    ) -> Result<Option<Arc<dyn PhysicalExpr>>> {
        self.renamed(predicate, &|name| Some(columns.find(name)?.physical.clone()))
    }

    /// As [`Self::to_source`], for a predicate over the scan's output.
    pub(super) fn output_to_source(&self, predicate: &Arc<dyn PhysicalExpr>) -> Result<Option<Arc<dyn PhysicalExpr>>> {
        let physical = |name: &str| {
            let index = self.output.index_of(name).ok()?;
            self.field(*self.projection.get(index)?).map(|field| field.name().clone())
        };
        self.renamed(predicate, &physical)
    }

    fn renamed(
        &self,
        predicate: &Arc<dyn PhysicalExpr>,
        physical: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Option<Arc<dyn PhysicalExpr>>> {
        let mut known = true;
        let transformed = predicate.clone().transform(|node| {
            let Some(column) = node.downcast_ref::<Column>() else { return Ok(Transformed::no(node)) };
            let found = physical(column.name()).and_then(|name| self.position(&name).map(|index| (name, index)));
            match found {
                Some((name, index)) => {
                    Ok(Transformed::yes(Arc::new(Column::new(&name, index)) as Arc<dyn PhysicalExpr>))
                }
                None => {
                    known = false;
                    Ok(Transformed::no(node))
                }
            }
        })?;
        Ok(known.then_some(transformed.data))
    }

    /// Position of a physical column among file columns and partition columns. Nested columns of mapped tables have
    /// none: their children are named differently in files.
    fn position(&self, physical: &str) -> Option<usize> {
        let index = (0..self.file.fields().len() + self.partitions.len())
            .find(|index| self.field(*index).is_some_and(|field| field.name() == physical))?;
        let nested = self.field(index)?.data_type().is_nested();
        (!nested || self.mapping == Mapping::None).then_some(index)
    }

    fn field(&self, index: usize) -> Option<&FieldRef> {
        let files = self.file.fields();
        files.get(index).or_else(|| self.partitions.get(index.checked_sub(files.len())?))
    }

    /// File columns and partition columns in one schema: what predicates are over.
    pub(super) fn source_schema(&self) -> Schema {
        Schema::new(self.file.fields().iter().chain(&self.partitions).cloned().collect::<Vec<_>>())
    }

    /// A batch under physical names as a batch of the output schema.
    pub(super) fn rename(&self, batch: &RecordBatch) -> Result<RecordBatch> {
        let columns = batch.columns().iter().zip(self.output.fields());
        let columns =
            columns.map(|(column, field)| retype(column, field.data_type())).collect::<Result<Vec<_>, _>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        Ok(RecordBatch::try_new_with_options(self.output.clone(), columns, &options)?)
    }
}

fn no_column(index: usize) -> datafusion::error::DataFusionError {
    EngineError::internal(format!("projection names column {index}, which the table does not have")).into()
}

#[cfg(test)]
mod tests {
    use arrow::datatypes::DataType;

    use super::*;

    #[test]
    fn projections_and_predicates_find_partition_columns_behind_file_columns() {
        let schema = Schema::new(vec![
            Field::new("p", DataType::Int32, true),
            Field::new("a", DataType::Utf8, true),
            Field::new("b", DataType::Int64, false),
        ]);
        let columns = Columns::new(&schema, &["p".to_owned()], Mapping::None).unwrap();
        let layout = Layout::new(&Url::parse("file:///t").unwrap(), &columns, &[2, 0]).unwrap();
        assert_eq!(layout.projection, [1, 2]);
        assert_eq!(layout.output.field(1).name(), "p");
        let over_output: Arc<dyn PhysicalExpr> = Arc::new(Column::new("p", 1));
        let source = layout.output_to_source(&over_output).unwrap().unwrap();
        assert_eq!(source.downcast_ref::<Column>().unwrap().index(), 2);
        let unknown: Arc<dyn PhysicalExpr> = Arc::new(Column::new("a", 0));
        assert!(layout.output_to_source(&unknown).unwrap().is_none());
        assert!(layout.to_source(&unknown, &columns).unwrap().is_some());
    }
}
