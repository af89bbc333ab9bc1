//! What passes through the nodes that read and write stores: rows, bytes and time, as metrics with names that a worker
//! looks for. Pure, but for the clock that `metered` looks at.

use std::pin::Pin;
use std::task::{Context, Poll};

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use datafusion::error::Result;
use datafusion::execution::{RecordBatchStream, SendableRecordBatchStream};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::metrics::{BaselineMetrics, MetricsSet};
use futures::{Stream, StreamExt};

/// The counter of the bytes that a scan read from a store or a database. Only nodes that read have it.
pub(crate) const READ_BYTES: &str = "bytes_scanned";
/// The counter of the bytes of the files that a node wrote. Only nodes that write tables have it.
pub(crate) const WRITTEN_BYTES: &str = "bytes_written";

/// Rows and bytes that crossed the border between a node and the stores.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Flow {
    /// Rows.
    pub rows: u64,
    /// Bytes: of a scan as they came, of a write those of its files.
    pub bytes: u64,
}

/// What the node read from stores; `None` of nodes that read none. Inputs of the node do not count.
pub fn read(node: &dyn ExecutionPlan) -> Option<Flow> {
    crossed(node, READ_BYTES)
}

/// What the node wrote into the files of a table so far; bytes are those of files that are closed. `None` of nodes that write
/// none. Inputs of the node do not count.
pub fn written(node: &dyn ExecutionPlan) -> Option<Flow> {
    crossed(node, WRITTEN_BYTES)
}

fn crossed(node: &dyn ExecutionPlan, counter: &str) -> Option<Flow> {
    let metrics: MetricsSet = node.metrics()?;
    let bytes = metrics.sum_by_name(counter)?.as_usize();
    let number = |figure: usize| u64::try_from(figure).unwrap_or(u64::MAX);
    Some(Flow { rows: number(metrics.output_rows().unwrap_or(0)), bytes: number(bytes) })
}

/// The rows of a scan: counted, and the time that is spent in the stream, which is that of decoding them.
pub(crate) fn metered(rows: SendableRecordBatchStream, metrics: BaselineMetrics) -> SendableRecordBatchStream {
    Box::pin(Metered { rows, metrics })
}

struct Metered {
    rows: SendableRecordBatchStream,
    metrics: BaselineMetrics,
}

impl Stream for Metered {
    type Item = Result<RecordBatch>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        let timer = this.metrics.elapsed_compute().timer();
        let polled = this.rows.poll_next_unpin(context);
        timer.done();
        if let Poll::Ready(Some(Ok(batch))) = &polled {
            this.metrics.record_output(batch.num_rows());
        }
        polled
    }
}

impl RecordBatchStream for Metered {
    fn schema(&self) -> SchemaRef {
        self.rows.schema()
    }
}
