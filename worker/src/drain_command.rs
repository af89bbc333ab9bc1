//! `lake-worker drain …`: has a worker drained by the leading master, and waits until it is gone. Edge.

use std::io::Write;
use std::time::Duration;

use clap::Parser;
use lake_proto::channel::ask_leader;
use lake_proto::masters::Addresses;
use lake_proto::quantity::duration;
use lake_proto::v1::submissions_client::SubmissionsClient;
use lake_proto::v1::{DrainWorkerRequest, ListRequest};
use lake_proto::{ErrorClass, Fault};
use tokio::time::{Instant, sleep};
use tonic::transport::Channel;

/// How long a leader is looked for, and a worker may take to begin.
const PATIENCE: Duration = Duration::from_secs(30);
/// What a worker may take to end beyond the time that it waits for others.
const ENDING: Duration = Duration::from_secs(30);
const PAUSE: Duration = Duration::from_millis(300);

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq, Parser)]
#[command(
    name = "lake-worker drain",
    about = "Lets a worker finish its tasks, serve its shuffle data until that is read, and end"
)]
pub struct Command {
    /// The worker's id, as lake-submit --list shows it
    #[arg(long, value_name = "ID")]
    worker: String,
    /// Any of the masters: lake://host:port[,host:port...]
    #[arg(long, env = "LAKE_MASTER", value_name = "URL")]
    master: String,
    /// Wait until the worker is gone
    #[arg(long)]
    wait: bool,
}

/// Reads the command line (with the program's name first). Prints usage and ends the process when it is not valid.
pub fn read(arguments: Vec<String>) -> Command {
    Command::parse_from(arguments)
}

/// Tells the worker, and says on `out` when it has begun to drain and, when that is waited for, when it is gone. A
/// repeat waits for the same end.
///
/// # Errors
/// `not-found` when there is no such worker; `unavailable` when no master leads, or the worker does not begin or does
/// not end in time; `resource` when `out` cannot be written.
pub async fn run(command: &Command, out: &mut impl Write) -> Result<(), Fault> {
    let mut masters = Addresses::of(&command.master)?;
    let request = DrainWorkerRequest { worker_id: command.worker.clone() };
    let drain = async |channel: Channel| SubmissionsClient::new(channel).drain_worker(request.clone()).await;
    let told = ask_leader(&mut masters, PATIENCE, drain).await?;
    let timeout = Duration::from_millis(told.drain_timeout_ms);

    let state = wait_until(command, &mut masters, PATIENCE, "begin to drain", |state| state != "ALIVE").await?;
    if state == "DRAINING" {
        say(out, &format!("{} drains and leaves within {}", command.worker, duration(timeout)))?;
        if !command.wait {
            return Ok(());
        }
        wait_until(command, &mut masters, timeout + ENDING, "leave", |state| state == "LOST").await?;
    }
    say(out, &format!("{} is gone", command.worker))
}

/// Asks the leader until the worker's state is as wanted, and answers with it.
async fn wait_until(
    command: &Command,
    masters: &mut Addresses,
    patience: Duration,
    what: &str,
    is_wanted: impl Fn(&str) -> bool,
) -> Result<String, Fault> {
    let deadline = Instant::now() + patience;
    loop {
        let state = state(command, masters).await?;
        if is_wanted(&state) {
            return Ok(state);
        }
        if Instant::now() >= deadline {
            let message = format!("{} is {state}: it did not {what} within {}", command.worker, duration(patience));
            return Err(Fault::new(ErrorClass::Unavailable, "not-drained", message));
        }
        sleep(PAUSE).await;
    }
}

/// `ALIVE`, `DRAINING` or `LOST`; masters forget lost workers after a while.
async fn state(command: &Command, masters: &mut Addresses) -> Result<String, Fault> {
    let list = async |channel: Channel| SubmissionsClient::new(channel).list(ListRequest { limit: 1 }).await;
    let list = ask_leader(masters, PATIENCE, list).await?;
    let worker = list.workers.into_iter().find(|worker| worker.worker_id == command.worker);
    Ok(worker.map_or_else(|| "LOST".to_owned(), |worker| worker.state))
}

fn say(out: &mut impl Write, line: &str) -> Result<(), Fault> {
    writeln!(out, "{line}")
        .and_then(|()| out.flush())
        .map_err(|error| Fault::new(ErrorClass::Resource, "stdout", format!("the output cannot be written: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_and_a_master_must_be_named() {
        let parse = |arguments: &[&str]| Command::try_parse_from(["lake-worker drain"].iter().chain(arguments));
        let command = parse(&["--worker", "worker-1", "--master", "lake://m:1", "--wait"]).unwrap();
        assert_eq!((command.worker.as_str(), command.master.as_str(), command.wait), ("worker-1", "lake://m:1", true));
        assert!(!parse(&["--worker", "worker-1", "--master", "lake://m:1"]).unwrap().wait);
        assert!(parse(&["--master", "lake://m:1"]).is_err());
    }
}
