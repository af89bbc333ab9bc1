//! `--kill ID`. Edge.

use lake_proto::Fault;

use super::{client, print};
use crate::options::{Options, Output};
use crate::report::{spark_kill, status_json};

pub(super) async fn run(options: &Options, id: &str) -> Result<(), Fault> {
    let status = client(options)?.kill(id).await?;
    match options.output {
        Output::Text => print(&spark_kill(&status)),
        Output::Json => print(&status_json(&status)),
    }
}
