//! The scan node to bytes and back. Pure.

use std::sync::Arc;

use arrow::datatypes::Schema;
use datafusion::error::Result;
use datafusion::physical_plan::ExecutionPlan;
use datafusion_proto::protobuf;
use prost::Message;

use super::exec::{FilesScanExec, Scan};
use crate::EngineError;
use crate::codec::{Expressions, WireNode};

#[derive(Clone, PartialEq, Message)]
struct Wire {
    /// [`super::exec::ScanSpec`] as JSON.
    #[prost(string, tag = "1")]
    spec: String,
    #[prost(message, optional, tag = "2")]
    table: Option<protobuf::Schema>,
    #[prost(bytes = "vec", optional, tag = "3")]
    predicate: Option<Vec<u8>>,
}

impl WireNode for FilesScanExec {
    const KIND: u8 = 3;

    fn to_bytes(&self, expressions: &Expressions<'_>) -> Result<Vec<u8>> {
        let Scan { spec, table, predicate } = self.scan();
        let wire = Wire {
            spec: serde_json::to_string(spec).map_err(|error| EngineError::internal(error.to_string()))?,
            table: Some(protobuf::Schema::try_from(table.as_ref())?),
            predicate: predicate.as_ref().map(|predicate| expressions.encode(predicate)).transpose()?,
        };
        Ok(wire.encode_to_vec())
    }

    fn from_bytes(bytes: &[u8], inputs: &[Arc<dyn ExecutionPlan>], expressions: &Expressions<'_>) -> Result<Self> {
        let damaged = |what: String| EngineError::internal(format!("a file scan does not decode: {what}"));
        let wire = Wire::decode(bytes).map_err(|error| damaged(error.to_string()))?;
        let table = wire.table.ok_or_else(|| damaged("no schema".to_owned()))?;
        let table = Arc::new(Schema::try_from(&table)?);
        let predicate = wire.predicate.map(|bytes| expressions.decode(&bytes, &table)).transpose()?;
        let spec = serde_json::from_str(&wire.spec).map_err(|error| damaged(error.to_string()))?;
        let [input] = inputs else { return Err(damaged(format!("{} children", inputs.len())).into()) };
        Ok(Self::try_new(Arc::new(Scan { spec, table, predicate }), input.clone())?)
    }
}
