//! The schemas of one table: as SQL sees it, as it is scanned, and as its files hold it. Pure.
//!
//! With column mapping a file's column names differ from the table's: `physical` names are what files, statistics
//! and partition values use; ids are what files are matched by in `id` mode.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef, Fields, Schema, SchemaRef};
use serde::{Deserialize, Serialize};

use super::types::scan_type;
use crate::{EngineError, Result};

const PHYSICAL_NAME: &str = "delta.columnMapping.physicalName";
const COLUMN_ID: &str = "delta.columnMapping.id";
/// Where arrow's Parquet reader and writer keep a column's field id.
pub(crate) const FIELD_ID: &str = "PARQUET:field_id";

/// How columns are found in files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mapping {
    /// By the table's own names.
    None,
    /// By physical names.
    Name,
    /// By field ids.
    Id,
}

impl Mapping {
    /// The mode a table's `delta.columnMapping.mode` names.
    ///
    /// # Errors
    /// `invalid-job` for a mode that is not known.
    pub(crate) fn parse(text: Option<&str>, table: &str) -> Result<Self> {
        match text.unwrap_or("none") {
            "none" => Ok(Self::None),
            "name" => Ok(Self::Name),
            "id" => Ok(Self::Id),
            other => Err(EngineError::invalid(
                "delta-protocol",
                format!("table '{table}' has column mapping mode '{other}': expected none, name or id"),
            )),
        }
    }
}

/// One column.
#[derive(Debug, Clone)]
pub struct TableColumn {
    /// Name in SQL.
    pub name: String,
    /// Name in files, statistics and partition values.
    pub physical: String,
    /// Whether its values stand in paths and the log instead of in files.
    pub is_partition: bool,
}

/// The schemas of one table.
#[derive(Debug, Clone)]
pub struct Columns {
    /// Table types, table names, no metadata: what writers cast to.
    pub table: SchemaRef,
    /// As `table` with text and bytes as views: what scans give.
    pub scan: SchemaRef,
    /// Table types under physical names with field ids: what files are written with.
    pub physical: SchemaRef,
    /// Column by column, in the order of the schemas.
    pub list: Vec<TableColumn>,
    /// How columns are found in files.
    pub mapping: Mapping,
}

impl Columns {
    /// From the table's logical schema, metadata included.
    ///
    /// # Errors
    /// `internal` when the log names a partition column that the schema does not have.
    pub(crate) fn new(logical: &Schema, partition_columns: &[String], mapping: Mapping) -> Result<Self> {
        let missing = partition_columns.iter().find(|name| logical.field_with_name(name).is_err());
        if let Some(name) = missing {
            return Err(EngineError::internal(format!("partition column '{name}' is not in the table's schema")));
        }
        let plain: Vec<FieldRef> = logical.fields().iter().map(|field| without_metadata(field)).collect();
        let scan: Vec<FieldRef> = plain
            .iter()
            .map(|field| Arc::new(field.as_ref().clone().with_data_type(scan_type(field.data_type()))))
            .collect();
        let physical: Vec<FieldRef> = match mapping {
            Mapping::None => plain.clone(),
            Mapping::Name | Mapping::Id => logical.fields().iter().map(|field| physical_field(field)).collect(),
        };
        let list = logical.fields().iter().zip(&physical).map(|(field, physical)| TableColumn {
            name: field.name().clone(),
            physical: physical.name().clone(),
            is_partition: partition_columns.contains(field.name()),
        });
        let list = list.collect();
        let schema = |fields| Arc::new(Schema::new(fields));
        Ok(Self { table: schema(plain), scan: schema(scan), physical: schema(physical), list, mapping })
    }

    /// The column of this SQL name.
    pub fn find(&self, name: &str) -> Option<&TableColumn> {
        self.list.iter().find(|column| column.name == name)
    }
}

fn without_metadata(field: &Field) -> FieldRef {
    let kind = map_children(field.data_type(), &without_metadata);
    Arc::new(Field::new(field.name(), kind, field.is_nullable()))
}

fn physical_field(field: &Field) -> FieldRef {
    let metadata = field.metadata();
    let name = metadata.get(PHYSICAL_NAME).unwrap_or(field.name());
    let id: HashMap<String, String> =
        metadata.get(COLUMN_ID).map(|id| (FIELD_ID.to_owned(), id.clone())).into_iter().collect();
    let kind = map_children(field.data_type(), &physical_field);
    Arc::new(Field::new(name, kind, field.is_nullable()).with_metadata(id))
}

/// The type with `change` applied to the fields of its structs; synthetic fields (list elements, map entries) keep
/// their names.
fn map_children(kind: &DataType, change: &dyn Fn(&Field) -> FieldRef) -> DataType {
    let inner = |field: &FieldRef| {
        let kind = map_children(field.data_type(), change);
        Arc::new(Field::new(field.name(), kind, field.is_nullable()))
    };
    match kind {
        DataType::Struct(children) => DataType::Struct(children.iter().map(|child| change(child)).collect::<Fields>()),
        DataType::List(item) => DataType::List(inner(item)),
        DataType::Map(entries, sorted) => match entries.data_type() {
            DataType::Struct(pair) => {
                let pair: Fields = pair.iter().map(inner).collect();
                DataType::Map(Arc::new(Field::new(entries.name(), DataType::Struct(pair), false)), *sorted)
            }
            other => other.clone(),
        },
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mapped(name: &str, physical: &str, id: &str, kind: DataType) -> Field {
        let metadata = [(PHYSICAL_NAME, physical), (COLUMN_ID, id)];
        Field::new(name, kind, true)
            .with_metadata(metadata.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect())
    }

    #[test]
    fn physical_names_and_ids_reach_nested_fields() {
        let inner = mapped("city", "col-3", "3", DataType::Utf8);
        let schema = Schema::new(vec![
            mapped("id", "col-1", "1", DataType::Int64),
            mapped("address", "col-2", "2", DataType::Struct(vec![inner].into())),
        ]);
        let columns = Columns::new(&schema, &["id".to_owned()], Mapping::Name).unwrap();
        assert_eq!(columns.list[0].physical, "col-1");
        assert!(columns.list[0].is_partition);
        assert_eq!(columns.physical.field(1).metadata()[FIELD_ID], "2");
        let DataType::Struct(children) = columns.physical.field(1).data_type() else { panic!("not a struct") };
        assert_eq!(children[0].name(), "col-3");
        let DataType::Struct(children) = columns.table.field(1).data_type() else { panic!("not a struct") };
        assert_eq!(children[0].name(), "city");
        assert!(columns.scan.field(0).metadata().is_empty());
    }
}
