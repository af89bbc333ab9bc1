//! Our plan nodes to bytes and back; composed with Ballista's codec, ours first. Pure.
//!
//! Traps: the composed codec reuses one buffer for all attempts, so a node that is not ours must be refused before
//! anything is written; UDF methods stay at their defaults, so that functions are found by name.

use std::fmt::Debug;
use std::sync::Arc;

use arrow::datatypes::Schema;
use ballista_core::serde::BallistaPhysicalExtensionCodec;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::TaskContext;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_plan::ExecutionPlan;
use datafusion_proto::physical_plan::{
    AsExecutionPlan, ComposedPhysicalExtensionCodec, PhysicalExtensionCodec, PhysicalPlanDecodeContext,
    PhysicalProtoConverterExtension,
};
use datafusion_proto::protobuf::{PhysicalExprNode, PhysicalPlanNode};
use prost::Message;

use crate::EngineError;
use crate::delta::{DeltaFilesScanExec, DeltaWriteExec};
use crate::source::files::FilesScanExec;
use crate::source::postgres::PostgresScanExec;

/// Version of the bytes; checked when a worker registers and when a driver submits a query.
pub const VERSION: u32 = 2;

const MAGIC: &[u8; 4] = b"LAKE";

/// How nodes turn the physical expressions they hold into bytes and back.
pub struct Expressions<'a> {
    codec: &'a dyn PhysicalExtensionCodec,
    converter: &'a dyn PhysicalProtoConverterExtension,
    context: Option<&'a TaskContext>,
}

impl Expressions<'_> {
    /// Bytes of an expression.
    ///
    /// # Errors
    /// When DataFusion has no encoding for it.
    pub fn encode(&self, expression: &Arc<dyn PhysicalExpr>) -> Result<Vec<u8>> {
        Ok(self.converter.physical_expr_to_proto(expression, self.codec)?.encode_to_vec())
    }

    /// The expression in bytes, over `schema`.
    ///
    /// # Errors
    /// When the bytes are not of [`Self::encode`].
    pub fn decode(&self, bytes: &[u8], schema: &Schema) -> Result<Arc<dyn PhysicalExpr>> {
        let context = self.context.ok_or_else(|| EngineError::internal("expressions decode needs a task context"))?;
        let proto = PhysicalExprNode::decode(bytes).map_err(|error| EngineError::internal(error.to_string()))?;
        self.converter.proto_to_physical_expr(&proto, schema, &PhysicalPlanDecodeContext::new(context, self.codec))
    }
}

/// A plan node of ours that travels.
pub trait WireNode: ExecutionPlan + Sized {
    /// Distinct per node type; never renumbered.
    const KIND: u8;

    /// Everything but the children.
    ///
    /// # Errors
    /// When an expression has no encoding.
    fn to_bytes(&self, expressions: &Expressions<'_>) -> Result<Vec<u8>>;

    /// The node again.
    ///
    /// # Errors
    /// When the bytes or the number of children are not what [`Self::to_bytes`] implies.
    fn from_bytes(bytes: &[u8], inputs: &[Arc<dyn ExecutionPlan>], expressions: &Expressions<'_>) -> Result<Self>;
}

/// The list of our nodes, in one place: what is not here does not travel.
macro_rules! wire_nodes {
    ($($node:ty),* $(,)?) => {
        fn encode_node(node: &Arc<dyn ExecutionPlan>, expressions: &Expressions<'_>) -> Option<Result<Vec<u8>>> {
            None$(.or_else(|| encode::<$node>(node, expressions)))*
        }

        fn decode_node(
            kind: u8,
            body: &[u8],
            inputs: &[Arc<dyn ExecutionPlan>],
            expressions: &Expressions<'_>,
        ) -> Result<Arc<dyn ExecutionPlan>> {
            match kind {
                $(<$node as WireNode>::KIND => decode::<$node>(body, inputs, expressions),)*
                other => Err(not_ours(&format!("node kind {other}"))),
            }
        }
    };
}

wire_nodes!(DeltaFilesScanExec, DeltaWriteExec, FilesScanExec, PostgresScanExec);

/// The codec that drivers, masters and workers share.
pub fn codec() -> Arc<dyn PhysicalExtensionCodec> {
    Arc::new(ComposedPhysicalExtensionCodec::new(vec![
        Arc::new(LakeCodec),
        Arc::new(BallistaPhysicalExtensionCodec::default()),
    ]))
}

/// Bytes of a plan.
///
/// # Errors
/// `internal` when a node has no encoding.
pub fn encode_plan(plan: &Arc<dyn ExecutionPlan>, codec: &dyn PhysicalExtensionCodec) -> crate::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    PhysicalPlanNode::try_from_physical_plan(plan.clone(), codec)?.try_encode(&mut bytes)?;
    Ok(bytes)
}

/// The plan in bytes.
///
/// # Errors
/// `internal` when the bytes are not of [`encode_plan`] of the same [`VERSION`].
pub fn decode_plan(
    bytes: &[u8],
    context: &TaskContext,
    codec: &dyn PhysicalExtensionCodec,
) -> crate::Result<Arc<dyn ExecutionPlan>> {
    Ok(PhysicalPlanNode::try_decode(bytes)?.try_into_physical_plan(context, codec)?)
}

#[derive(Debug)]
struct LakeCodec;

impl PhysicalExtensionCodec for LakeCodec {
    fn try_decode(
        &self,
        buf: &[u8],
        inputs: &[Arc<dyn ExecutionPlan>],
        ctx: &TaskContext,
        converter: &dyn PhysicalProtoConverterExtension,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let body = buf.strip_prefix(MAGIC).ok_or_else(|| not_ours("bytes without our mark"))?;
        let (kind, body) = body.split_first().ok_or_else(|| not_ours("bytes without a node kind"))?;
        let expressions = Expressions { codec: self, converter, context: Some(ctx) };
        decode_node(*kind, body, inputs, &expressions)
    }

    fn try_encode(
        &self,
        node: Arc<dyn ExecutionPlan>,
        buf: &mut Vec<u8>,
        converter: &dyn PhysicalProtoConverterExtension,
    ) -> Result<()> {
        let expressions = Expressions { codec: self, converter, context: None };
        let encoded = encode_node(&node, &expressions).ok_or_else(|| not_ours(node.name()))?;
        buf.extend_from_slice(&encoded?);
        Ok(())
    }
}

fn encode<N: WireNode + 'static>(
    node: &Arc<dyn ExecutionPlan>,
    expressions: &Expressions<'_>,
) -> Option<Result<Vec<u8>>> {
    let node = node.downcast_ref::<N>()?;
    Some(node.to_bytes(expressions).map(|body| [MAGIC.as_slice(), &[N::KIND], &body].concat()))
}

fn decode<N: WireNode + 'static>(
    body: &[u8],
    inputs: &[Arc<dyn ExecutionPlan>],
    expressions: &Expressions<'_>,
) -> Result<Arc<dyn ExecutionPlan>> {
    Ok(Arc::new(N::from_bytes(body, inputs, expressions)?))
}

fn not_ours(what: &str) -> DataFusionError {
    DataFusionError::Internal(format!("not a lake plan node: {what}"))
}
