//! `--status ID`. Edge.

use lake_proto::Fault;

use super::{client, print};
use crate::options::{Options, Output};
use crate::report::{spark_status, status_json};

pub(super) async fn run(options: &Options, id: &str) -> Result<(), Fault> {
    let status = client(options)?.status(id).await?;
    match options.output {
        Output::Text => print(&spark_status(&status)),
        Output::Json => print(&status_json(&status)),
    }
}
