//! `--logs ID [-f]`. Edge.

use lake_proto::Fault;

use super::{client, write};
use crate::options::Options;

pub(super) async fn run(options: &Options, id: &str) -> Result<(), Fault> {
    client(options)?.logs(id, options.log_stream.name(), options.follow, write).await
}
