//! Columns by field id: tables with column mapping mode `id` promise nothing about the names in their files. Pure.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::datatypes::{Field, Schema, SchemaRef};
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::error::Result;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_expr_adapter::{
    DefaultPhysicalExprAdapterFactory, PhysicalExprAdapter, PhysicalExprAdapterFactory,
};

use crate::delta::columns::FIELD_ID;

/// Makes adapters that look a column up by its id, whatever the file calls it.
#[derive(Debug)]
pub(super) struct FieldIds;

impl PhysicalExprAdapterFactory for FieldIds {
    fn create(&self, table: SchemaRef, file: SchemaRef) -> Result<Arc<dyn PhysicalExprAdapter>> {
        let renamed: Vec<Field> = file.fields().iter().map(|field| named_by_id(field, &table)).collect();
        let names =
            renamed.iter().zip(file.fields()).map(|(ours, theirs)| (ours.name().clone(), theirs.name().clone()));
        let names = names.collect();
        let renamed = Arc::new(Schema::new_with_metadata(renamed, file.metadata().clone()));
        let inner = DefaultPhysicalExprAdapterFactory.create(table, renamed)?;
        Ok(Arc::new(Adapter { inner, names }))
    }
}

/// The file's field under the name of the table's field of the same id. A field that the table does not know gets a
/// name that no column has, so that it is not taken for one of the same name.
fn named_by_id(field: &Field, table: &Schema) -> Field {
    let same = |other: &&Arc<Field>| id(field).is_some() && id(other) == id(field);
    match table.fields().iter().find(same) {
        Some(known) => field.clone().with_name(known.name()),
        None => field.clone().with_name(format!("\u{0}{}", field.name())),
    }
}

fn id(field: &Field) -> Option<&String> {
    field.metadata().get(FIELD_ID)
}

#[derive(Debug)]
struct Adapter {
    inner: Arc<dyn PhysicalExprAdapter>,
    /// Names in the file by the names it was shown to `inner` under.
    names: HashMap<String, String>,
}

impl PhysicalExprAdapter for Adapter {
    fn rewrite(&self, expression: Arc<dyn PhysicalExpr>) -> Result<Arc<dyn PhysicalExpr>> {
        let adapted = self.inner.rewrite(expression)?;
        let restored = adapted.transform(|node| {
            let restored = node.downcast_ref::<Column>().and_then(|column| {
                let name = self.names.get(column.name()).filter(|name| name.as_str() != column.name())?;
                Some(Arc::new(Column::new(name, column.index())) as Arc<dyn PhysicalExpr>)
            });
            Ok(restored.map_or_else(|| Transformed::no(node), Transformed::yes))
        })?;
        Ok(restored.data)
    }
}

#[cfg(test)]
mod tests {
    use arrow::datatypes::DataType;
    use datafusion::physical_expr::expressions::Literal;

    use super::*;

    fn with_id(name: &str, id: &str) -> Field {
        Field::new(name, DataType::Int32, true).with_metadata([(FIELD_ID.to_owned(), id.to_owned())].into())
    }

    #[test]
    fn a_column_is_found_by_id_and_never_by_name_alone() {
        let table = Arc::new(Schema::new(vec![with_id("col-a", "1"), with_id("col-b", "2")]));
        let file = Arc::new(Schema::new(vec![with_id("col-b", "9"), with_id("anything", "1")]));
        let adapter = FieldIds.create(table, file).unwrap();
        let found = adapter.rewrite(Arc::new(Column::new("col-a", 0))).unwrap();
        let found = found.downcast_ref::<Column>().unwrap();
        assert_eq!((found.name(), found.index()), ("anything", 1));
        assert!(adapter.rewrite(Arc::new(Column::new("col-b", 1))).unwrap().is::<Literal>());
    }
}
