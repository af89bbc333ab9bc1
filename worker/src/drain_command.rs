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
    bin_name = "lake-worker drain",
    about = "Lets a worker finish its tasks, serve its shuffle data until that is read, and end",
    after_help = "Example:\n  \
                  lake-worker drain --worker worker-20261121093012-h1-7078 --master lake://h1:7077 --wait"
)]
pub struct Command {
    /// The worker's id, as lake-submit --list shows it
    #[arg(long, value_name = "ID")]
    worker: String,
    /// Any of the masters: lake://host:port[,host:port...]
    #[arg(long, env = "LAKE_MASTER", value_name = "URL", default_value = "lake://127.0.0.1:7077")]
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
        wait_until(command, &mut masters, timeout + ENDING, "leave", is_gone).await?;
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

/// Whether a worker in this state will not come back: it has left, was lost, or is forgotten.
fn is_gone(state: &str) -> bool {
    !matches!(state, "ALIVE" | "DRAINING")
}

/// The worker's state as the leader shows it; masters forget workers that are gone after a while.
async fn state(command: &Command, masters: &mut Addresses) -> Result<String, Fault> {
    let list = async |channel: Channel| SubmissionsClient::new(channel).list(ListRequest { limit: 1 }).await;
    let list = ask_leader(masters, PATIENCE, list).await?;
    let worker = list.workers.into_iter().find(|worker| worker.worker_id == command.worker);
    Ok(worker.map_or_else(|| "forgotten".to_owned(), |worker| worker.state))
}

fn say(out: &mut impl Write, line: &str) -> Result<(), Fault> {
    writeln!(out, "{line}")
        .and_then(|()| out.flush())
        .map_err(|error| Fault::new(ErrorClass::Resource, "stdout", format!("the output cannot be written: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(arguments: &[&str]) -> Result<Command, clap::Error> {
        // As main calls it: without the word 'drain'.
        Command::try_parse_from(["/opt/lake/lake-worker"].iter().chain(arguments))
    }

    #[test]
    fn a_worker_must_be_named_and_a_master_may_be() {
        let command = parse(&["--worker", "worker-1", "--master", "lake://m:1", "--wait"]).unwrap();
        assert_eq!((command.worker.as_str(), command.master.as_str(), command.wait), ("worker-1", "lake://m:1", true));
        assert!(!parse(&["--worker", "worker-1", "--master", "lake://m:1"]).unwrap().wait);
        assert!(parse(&["--master", "lake://m:1"]).is_err());
        assert!(parse(&["--worker", "worker-1"]).is_ok());
    }

    #[test]
    fn the_help_shows_what_is_accepted() {
        let help = parse(&["--help"]).unwrap_err();
        assert_eq!(help.kind(), clap::error::ErrorKind::DisplayHelp);
        let text = help.to_string();
        assert!(text.contains("Usage: lake-worker drain [OPTIONS] --worker <ID>\n"), "{text}");
        let example = text.lines().find_map(|line| line.strip_prefix("  lake-worker drain ")).unwrap();
        assert!(parse(&example.split(' ').collect::<Vec<_>>()).is_ok(), "{example}");
    }

    #[test]
    fn a_worker_that_has_left_was_lost_or_is_forgotten_is_gone() {
        for state in ["DECOMMISSIONED", "LOST", "forgotten"] {
            assert!(is_gone(state), "{state}");
        }
        assert!(!is_gone("ALIVE") && !is_gone("DRAINING"));
    }
}
