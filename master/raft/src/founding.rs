//! How a member finds its group before it takes part: nobody votes before everybody agrees on who is who. Edge.
//!
//! A group is founded once, when every master of --peers has answered with its number and the incarnation of its data
//! directory. The name of the group is computed from these, so all arrive at the same one without a vote. A master
//! whose directory is not the one that the group was founded with is refused: it could vote twice.

use std::collections::BTreeMap;
use std::time::Duration;

use lake_proto::channel::connect;
use lake_proto::v1::raft_peers_client::RaftPeersClient;
use lake_proto::{ErrorClass, Fault, codes, v1};
use tokio::time::timeout;

use crate::PROTOCOL;
use crate::member::{Directory, Member};

const HELLO_TIMEOUT: Duration = Duration::from_secs(2);
const ASK_EVERY: Duration = Duration::from_millis(250);
/// Rounds between two log lines about who is missing.
const ROUNDS_PER_COMPLAINT: u32 = 40;

/// A founded group.
pub(crate) struct Founded {
    pub(crate) cluster_id: String,
    pub(crate) members: Directory,
}

/// Asks the other masters until the group can be founded, or is found to be founded already with this one in it.
///
/// # Errors
/// `invalid-job` when the masters' lists differ or another master answers at an address, `denied` when the group knows
/// this master with another data directory.
pub(crate) async fn found(me: &Member, peers: &Directory) -> Result<Founded, Fault> {
    let mut known: BTreeMap<u64, Member> = BTreeMap::from([(me.id, me.clone())]);
    let mut round: u32 = 0;
    loop {
        let mut missing = Vec::new();
        for peer in peers.iter().filter(|peer| peer.id != me.id) {
            match hello(me, peers, &peer.address).await {
                Ok(answer) => {
                    check(me, peers, peer, &answer)?;
                    let identity = answer.identity.unwrap_or_default();
                    if !identity.cluster_id.is_empty() {
                        return join_founded(me, peer, identity.cluster_id, answer.members);
                    }
                    known.insert(peer.id, Member { incarnation: identity.incarnation, ..peer.clone() });
                }
                Err(fault) if fault.class == ErrorClass::Unavailable => {
                    // It may come back with another directory, so what it said before does not count.
                    known.remove(&peer.id);
                    missing.push(format!("{}@{}", peer.id, peer.address));
                }
                Err(fault) => return Err(fault.within(format!("master {} at {}", peer.id, peer.address))),
            }
        }
        if known.len() == peers.len() {
            let members: Directory = known.into_values().collect();
            return Ok(Founded { cluster_id: members.cluster_id(), members });
        }
        if round.is_multiple_of(ROUNDS_PER_COMPLAINT) {
            tracing::info!(missing = missing.join(", "), "waiting for all masters of the group, to found it");
        }
        round = round.wrapping_add(1);
        tokio::time::sleep(ASK_EVERY).await;
    }
}

/// Asks a master who it is.
///
/// # Errors
/// `unavailable` when it does not answer; `denied` when it refuses to talk.
pub(crate) async fn hello(me: &Member, peers: &Directory, address: &str) -> Result<v1::PeerHello, Fault> {
    let request = v1::PeerHello {
        identity: Some(v1::PeerIdentity {
            protocol: PROTOCOL,
            cluster_id: String::new(),
            id: me.id,
            incarnation: me.incarnation.clone(),
        }),
        address: me.address.clone(),
        members: crate::wire::records(peers),
    };
    let ask = async {
        let mut service = RaftPeersClient::new(connect(address).await?);
        Ok(service.hello(request).await?.into_inner())
    };
    let late = || Fault::new(ErrorClass::Unavailable, codes::NO_ANSWER, format!("{address} did not answer"));
    timeout(HELLO_TIMEOUT, ask).await.map_err(|_| late())?
}

fn check(me: &Member, peers: &Directory, peer: &Member, answer: &v1::PeerHello) -> Result<(), Fault> {
    let identity = answer.identity.clone().unwrap_or_default();
    if identity.protocol != PROTOCOL {
        return Err(other_protocol(peer.id, identity.protocol));
    }
    if identity.id != peer.id {
        let message = format!(
            "master {} answers at {}, where --peers of master {} has master {}; give every master the same --peers and \
             its own --id",
            identity.id, peer.address, me.id, peer.id
        );
        return Err(Fault::new(ErrorClass::InvalidJob, "wrong-peer", message));
    }
    let theirs: Directory = answer.members.iter().cloned().map(Member::from).collect();
    if identity.cluster_id.is_empty() && !theirs.agrees_with(peers) {
        let message = format!(
            "master {} at {} was started with other --peers than master {}; give every master the same list",
            peer.id, peer.address, me.id
        );
        return Err(Fault::new(ErrorClass::InvalidJob, "peers-differ", message));
    }
    Ok(())
}

/// The group exists: this master belongs to it only with the directory that it was founded with.
fn join_founded(
    me: &Member,
    peer: &Member,
    cluster_id: String,
    members: Vec<v1::PeerMember>,
) -> Result<Founded, Fault> {
    let members: Directory = members.into_iter().map(Member::from).collect();
    match members.get(me.id) {
        Some(known) if known.incarnation == me.incarnation => Ok(Founded { cluster_id, members }),
        Some(_) => Err(Fault::new(
            ErrorClass::Denied,
            "other-incarnation",
            format!(
                "the group of master {} knows master {} with another data directory than this one, which is empty; with \
                 its votes forgotten it could vote twice. Bring the old directory back, or run 'lake-master members \
                 remove {}' and start this one with --join and an --id that was never used",
                peer.id, me.id, me.id
            ),
        )),
        None => Err(Fault::new(
            ErrorClass::Denied,
            "not-a-member",
            format!(
                "the group of master {} was founded without master {}; start this one with --join and add it with \
                 'lake-master members add {}@{}'",
                peer.id, me.id, me.id, me.address
            ),
        )),
    }
}

pub(crate) fn other_protocol(id: u64, found: u32) -> Fault {
    let message = format!(
        "master {id} speaks version {found} of the masters' protocol, this one version {PROTOCOL}; run the same version \
         of lake-master on both"
    );
    Fault::new(ErrorClass::Denied, "peer-protocol", message)
}
