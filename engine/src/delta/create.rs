//! Creating a table: an entry of its own with protocol and metadata, no data. Edge.

use std::sync::Arc;
use std::time::Duration;

use arrow::datatypes::{DataType, Fields, Schema, SchemaRef};
use delta_kernel::actions::{Metadata, Protocol as ProtocolAction};
use delta_kernel::engine::arrow_conversion::TryIntoKernel;
use delta_kernel::schema::StructType;
use deltalake_core::kernel::CommitInfo;
use lake_job::{STATS_COLUMNS, column_names};
use lake_proto::ErrorClass;
use serde_json::json;
use url::Url;

use super::log::{Draft, Put, put};
use super::protocol::Protocol;
use super::table::{DeltaTable, NewTable, Snapshot};
use super::types::table_schema;
use crate::stores::Stores;
use crate::{EngineError, Result, sql_type};

const ATTEMPTS: u32 = 4;
const BACKOFF: Duration = Duration::from_millis(100);
/// Properties whose features need work at creation that we do not do.
const REFUSED: [&str; 4] = [
    "delta.columnMapping.mode",
    "delta.enableInCommitTimestamps",
    "delta.enableRowTracking",
    "delta.enableTypeWidening",
];

pub(super) async fn create(stores: &Arc<Stores>, location: &Url, table: &NewTable) -> Result<Snapshot> {
    let schema = planned_schema(table)?;
    if let Some(existing) = DeltaTable::open(stores, location).await? {
        return agreeing(existing, &schema, table);
    }
    let body = draft(&schema, table)?.encode()?;
    let root = stores.rooted(location)?;
    for attempt in 0..ATTEMPTS {
        let answer = put(root.as_ref(), 0, body.clone()).await;
        // Whatever was said: what is there counts.
        if let Some(created) = DeltaTable::open(stores, location).await? {
            return agreeing(created, &schema, table);
        }
        match answer {
            Put::Doubtful(error) if !error.is_transient() || attempt + 1 == ATTEMPTS => {
                return Err(error.within(format!("cannot create table '{location}'")));
            }
            // S3 also answers 409, "try again", which looks as if an entry were there.
            Put::Written | Put::Exists | Put::Doubtful(_) => tokio::time::sleep(BACKOFF * 2_u32.pow(attempt)).await,
        }
    }
    Err(EngineError::internal(format!("table '{location}' was created and is not there")))
}

/// The columns the table will have.
///
/// # Errors
/// `invalid-job` for columns, partitioning or properties a new table cannot have.
pub(super) fn planned_schema(table: &NewTable) -> Result<SchemaRef> {
    let schema = table_schema(&table.schema)?;
    check_layout(&schema, table)?;
    Ok(schema)
}

fn check_layout(schema: &SchemaRef, table: &NewTable) -> Result<()> {
    let refused = |message: String| Err(EngineError::invalid("delta-create", message));
    let names: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
    for name in &table.partition_by {
        let Ok(field) = schema.field_with_name(name) else {
            return refused(format!(
                "table '{}' is partitioned by '{name}', which is not one of its columns: {}",
                table.name,
                names.join(", ")
            ));
        };
        if field.data_type().is_nested() || matches!(field.data_type(), DataType::Binary) {
            return refused(format!(
                "table '{}' cannot be partitioned by '{name}' of type {}",
                table.name,
                sql_type::sql_type(field.data_type())
            ));
        }
    }
    if names.is_empty() || names.len() == table.partition_by.len() {
        return refused(format!("table '{}' has no column besides its partition columns", table.name));
    }
    if let Some(list) = table.properties.get(STATS_COLUMNS)
        && let Some(missing) = column_names(list).find(|name| !has_column(schema.fields(), name))
    {
        let message = format!(
            "table '{}' has {STATS_COLUMNS} = '{list}': it has no column '{missing}'; its columns are {}",
            table.name,
            names.join(", ")
        );
        return Err(EngineError::invalid("delta-property", message));
    }
    match REFUSED.iter().find(|key| table.properties.contains_key(**key)) {
        Some(key) => {
            refused(format!("table '{}' cannot be created with property '{key}': it is not supported", table.name))
        }
        None => Ok(()),
    }
}

/// Whether the name is that of a column, or of a field of one with dots between the names.
fn has_column(fields: &Fields, name: &str) -> bool {
    fields.iter().any(|field| {
        let rest = name.strip_prefix(field.name().as_str());
        match (rest, rest.and_then(|rest| rest.strip_prefix('.')), field.data_type()) {
            (Some(""), _, _) => true,
            (_, Some(inner), DataType::Struct(children)) => has_column(children, inner),
            _ => false,
        }
    })
}

fn draft(schema: &SchemaRef, table: &NewTable) -> Result<Draft> {
    let protocol = Protocol::for_new(schema, &table.properties);
    let kernel: StructType = schema.as_ref().try_into_kernel()?;
    let wrong = |error: serde_json::Error| EngineError::internal(error.to_string());
    let metadata = json!({
        "id": uuid::Uuid::new_v4().to_string(),
        "name": table.name,
        "format": { "provider": "parquet", "options": {} },
        "schemaString": serde_json::to_string(&kernel).map_err(wrong)?,
        "partitionColumns": table.partition_by,
        "configuration": table.properties,
        "createdTime": chrono::Utc::now().timestamp_millis(),
    });
    let metadata: Metadata = serde_json::from_value(metadata).map_err(wrong)?;
    let protocol: ProtocolAction = serde_json::to_value(&protocol).and_then(serde_json::from_value).map_err(wrong)?;
    let parameters = json!({
        "isManaged": "false",
        "partitionBy": serde_json::to_string(&table.partition_by).map_err(wrong)?,
        "properties": serde_json::to_string(&table.properties).map_err(wrong)?,
    });
    let info = CommitInfo {
        timestamp: Some(chrono::Utc::now().timestamp_millis()),
        operation: Some("CREATE TABLE".to_owned()),
        operation_parameters: parameters.as_object().map(|map| map.clone().into_iter().collect()),
        is_blind_append: Some(true),
        engine_info: Some(super::commit::ENGINE.to_owned()),
        ..CommitInfo::default()
    };
    Ok(Draft { info, protocol: Some(protocol), metadata: Some(metadata), txn: None, removes: vec![], adds: vec![] })
}

fn agreeing(existing: Snapshot, schema: &Schema, table: &NewTable) -> Result<Snapshot> {
    let same = |(ours, theirs): (&Arc<arrow::datatypes::Field>, &Arc<arrow::datatypes::Field>)| {
        ours.name() == theirs.name() && ours.data_type() == theirs.data_type()
    };
    let there = existing.schema();
    let agree = there.fields().len() == schema.fields().len()
        && schema.fields().iter().zip(there.fields()).all(same)
        && existing.partition_columns() == table.partition_by;
    if agree {
        return Ok(existing);
    }
    Err(EngineError::new(
        ErrorClass::Conflict,
        "delta-create",
        format!(
            "table '{}' exists already with other columns or partitioning: expected {} partitioned by [{}], found {} \
             partitioned by [{}]",
            existing.location(),
            describe(schema),
            table.partition_by.join(", "),
            describe(there),
            existing.partition_columns().join(", ")
        ),
    ))
}

fn describe(schema: &Schema) -> String {
    format!("({})", sql_type::columns(schema.fields().iter().map(AsRef::as_ref)))
}
