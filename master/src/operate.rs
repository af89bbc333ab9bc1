//! `lake-master members …`: what operators do to a group of masters. Edge.

use std::time::Duration;

use clap::{Args, Subcommand};
use lake_proto::channel::ask_leader;
use lake_proto::masters::Addresses;
use lake_proto::v1::members_client::MembersClient;
use lake_proto::{ErrorClass, Fault, v1};
use tonic::transport::Channel;

/// Shown below the help of `members`.
pub(crate) const EXAMPLES: &str = "\
Examples:
  lake-master members list --master lake://h1:7077
  lake-master members add 4@h4:7077 --master lake://h1:7077
  lake-master members remove 2 --master lake://h1:7077";

/// How long a leader is looked for.
const PATIENCE: Duration = Duration::from_secs(30);

/// The masters of a group: who they are, and changes of them.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct Members {
    #[command(subcommand)]
    verb: Verb,
    /// Any of the masters: lake://host:port[,host:port...]
    #[arg(long, env = "LAKE_MASTER", value_name = "URL", default_value = "lake://127.0.0.1:7077", global = true)]
    master: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Subcommand)]
enum Verb {
    /// Show the members, their roles and how much of the log each has
    #[command(after_help = "Example:\n  lake-master members list --master lake://h1:7077")]
    List,
    /// Add a master that was started with --join: as a learner, and as a voter once it has the log
    #[command(after_help = "Example:\n  lake-master members add 4@h4:7077 --master lake://h1:7077")]
    Add {
        /// Its number, which was never used before, and its address
        #[arg(value_name = "NUMBER@HOST:PORT")]
        member: String,
    },
    /// Take a master out of the group, for example one that has lost its disk
    #[command(after_help = "Example:\n  lake-master members remove 2 --master lake://h1:7077")]
    Remove {
        /// Its number
        #[arg(value_name = "NUMBER")]
        id: u64,
    },
}

impl Members {
    /// Carries it out and answers with the members as they are then, one a line.
    ///
    /// # Errors
    /// `unavailable` when no master leads within 30 s; what the leader refuses.
    pub async fn run(&self) -> Result<String, Fault> {
        let mut masters = Addresses::of(&self.master)?;
        let list = match &self.verb {
            Verb::List => {
                let list = async |channel: Channel| MembersClient::new(channel).list(v1::MembersRequest {}).await;
                ask_leader(&mut masters, PATIENCE, list).await?
            }
            Verb::Add { member } => {
                let (id, address) = number_and_address(member)?;
                let request = v1::AddMemberRequest { id, address };
                let add = async |channel: Channel| MembersClient::new(channel).add(request.clone()).await;
                ask_leader(&mut masters, PATIENCE, add).await?
            }
            Verb::Remove { id } => {
                let request = v1::RemoveMemberRequest { id: *id };
                let remove = async |channel: Channel| MembersClient::new(channel).remove(request).await;
                ask_leader(&mut masters, PATIENCE, remove).await?
            }
        };
        Ok(render(&list))
    }
}

fn number_and_address(member: &str) -> Result<(u64, String), Fault> {
    let parts = member.split_once('@').and_then(|(id, address)| Some((id.parse().ok()?, address.to_owned())));
    parts.filter(|(id, address)| *id > 0 && address.contains(':')).ok_or_else(|| {
        let message = format!("'{member}' is not a member: expected NUMBER@HOST:PORT, for example 4@h4:7077");
        Fault::new(ErrorClass::InvalidJob, "config", message)
    })
}

fn render(list: &v1::MemberList) -> String {
    let mut text = format!("term {}, log committed up to {}\n", list.term, list.commit);
    text.push_str(&format!("{:<6} {:<8} {:<10} {:<9} ADDRESS\n", "ID", "ROLE", "LAG", "STATE"));
    for member in &list.members {
        let lag = list.commit.saturating_sub(member.matched);
        let state = if member.is_active { "active" } else { "silent" };
        text.push_str(&format!("{:<6} {:<8} {lag:<10} {state:<9} {}\n", member.id, member.role, member.address));
    }
    text
}
