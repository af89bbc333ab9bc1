//! Members, network and faults of one seed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, RwLock};

use lake_master_core::application::{DeployMode, Options};
use lake_master_core::{Command, Event, QueueBound, Registration, State, Submission, codec, digest, invariants};
use lake_proto::{AppId, Fault};
use raft::eraftpb::{Message, MessageType};
use tokio::sync::oneshot::{self, error::TryRecvError};

mod healing;

use super::disk::Disk;
use crate::Role;
use crate::member::{Directory, Member};
use crate::node::{Change, ELECTION_TICKS, Node};
use crate::store::Store;

/// Founders and joiners together.
const MAX_MEMBERS: u64 = 7;

/// xorshift64*: small, seeded, the same everywhere.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) % bound
    }

    fn one_in(&mut self, bound: u64) -> bool {
        self.below(bound) == 0
    }

    fn index(&mut self, length: usize) -> usize {
        usize::try_from(self.below(length as u64)).unwrap()
    }
}

/// What happened, over all seeds.
#[derive(Debug, Default)]
pub(super) struct Count {
    pub(super) crashes: u64,
    pub(super) lost: u64,
    pub(super) repeated: u64,
    pub(super) partitions: u64,
    pub(super) elections: u64,
    pub(super) acknowledged: u64,
    pub(super) refused: u64,
    pub(super) full: u64,
    pub(super) snapshots: u64,
    pub(super) joins: u64,
    pub(super) removals: u64,
}

impl Count {
    pub(super) fn add(&mut self, other: &Self) {
        self.crashes += other.crashes;
        self.lost += other.lost;
        self.repeated += other.repeated;
        self.partitions += other.partitions;
        self.elections += other.elections;
        self.acknowledged += other.acknowledged;
        self.refused += other.refused;
        self.full += other.full;
        self.snapshots += other.snapshots;
        self.joins += other.joins;
        self.removals += other.removals;
    }
}

struct Host {
    disk: Disk,
    /// `None` while it is down.
    node: Option<Node>,
    state: Arc<RwLock<State>>,
    /// This member's own patience before an election; fixed, so that the seed decides everything.
    election_ticks: usize,
    /// It was taken out and does not count any more.
    is_removed: bool,
}

enum Waiting {
    Submission(String, oneshot::Receiver<Result<Vec<Event>, Fault>>),
    Other(oneshot::Receiver<Result<Vec<Event>, Fault>>),
    Change(Change, oneshot::Receiver<Result<Vec<Event>, Fault>>),
}

pub(super) struct World {
    random: Random,
    hosts: BTreeMap<u64, Host>,
    network: Vec<Message>,
    /// Pairs that cannot talk, in this direction.
    cut: BTreeSet<(u64, u64)>,
    waiting: Vec<Waiting>,
    acknowledged: BTreeMap<String, AppId>,
    leaders: BTreeMap<u64, u64>,
    digests: BTreeMap<u64, String>,
    now_ms: u64,
    submissions: u64,
    count: Count,
}

impl World {
    pub(super) fn new(seed: u64) -> Self {
        let mut random = Random(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
        let founders = if random.one_in(3) { 5 } else { 3 };
        let members: Directory = (1..=founders).map(member).collect();
        let mut world = Self {
            random,
            hosts: BTreeMap::new(),
            network: Vec::new(),
            cut: BTreeSet::new(),
            waiting: Vec::new(),
            acknowledged: BTreeMap::new(),
            leaders: BTreeMap::new(),
            digests: BTreeMap::new(),
            now_ms: 1_000_000,
            submissions: 0,
            count: Count::default(),
        };
        for id in 1..=founders {
            world.make(id, members.clone(), (1..=founders).collect());
        }
        world
    }

    /// A new host with an empty disk.
    fn make(&mut self, id: u64, members: Directory, voters: Vec<u64>) {
        let disk = Disk::default();
        let mut store = Store::open_on(disk.clone(), id).unwrap();
        store.found("group", members, voters).unwrap();
        drop(store);
        let election_ticks = ELECTION_TICKS + self.random.index(ELECTION_TICKS);
        let state = Arc::new(RwLock::new(State::default()));
        self.hosts.insert(id, Host { disk, node: None, state, election_ticks, is_removed: false });
        self.start(id);
    }

    fn start(&mut self, id: u64) {
        let host = self.hosts.get_mut(&id).unwrap();
        let store = Store::open_on(host.disk.clone(), id).unwrap();
        let snapshot = store.snapshot_bytes().unwrap().filter(|bytes| !bytes.is_empty());
        let state = snapshot.map_or_else(State::default, |bytes| codec::decode_state(&bytes).unwrap());
        host.state = Arc::new(RwLock::new(state));
        let patience = host.election_ticks..host.election_ticks + 1;
        host.node = Some(Node::new(store, Arc::clone(&host.state), Arc::default(), patience).unwrap());
        self.settle(id);
    }

    fn crash(&mut self, id: u64) {
        let host = self.hosts.get_mut(&id).unwrap();
        // Dropping a database would close it in order, so the disk forgets first what it was not told to keep.
        let random = &mut self.random;
        host.disk.crash(|| random.one_in(2));
        let kept = host.disk.copy();
        host.node = None;
        host.disk = kept;
        self.count.crashes += 1;
    }

    pub(super) fn step(&mut self) {
        self.now_ms += 10;
        match self.random.below(100) {
            0..=39 => self.tick_one(),
            40..=84 => self.deliver_one(),
            85..=91 => self.propose(),
            92 => self.crash_one(),
            93..=95 => self.restart_one(),
            96 => self.partition(),
            97 => self.cut.clear(),
            98 => self.change_members(),
            _ => self.cut_log(),
        }
        self.collect();
    }

    fn ids(&self, is_up: bool) -> Vec<u64> {
        let wanted = self.hosts.iter().filter(|(_, host)| !host.is_removed && host.node.is_some() == is_up);
        wanted.map(|(id, _)| *id).collect()
    }

    fn pick(&mut self, ids: &[u64]) -> Option<u64> {
        (!ids.is_empty()).then(|| ids[self.random.index(ids.len())])
    }

    fn tick_one(&mut self) {
        let up = self.ids(true);
        if let Some(id) = self.pick(&up) {
            self.node(id).tick();
            self.settle(id);
        }
    }

    fn node(&mut self, id: u64) -> &mut Node {
        self.hosts.get_mut(&id).unwrap().node.as_mut().unwrap()
    }

    /// Not the oldest one: messages overtake each other.
    fn deliver_one(&mut self) {
        if self.network.is_empty() {
            return;
        }
        let window = self.network.len().min(8);
        let index = self.random.index(window);
        let message = self.network.remove(index);
        if self.random.one_in(30) {
            self.count.lost += 1;
            if message.msg_type() == MessageType::MsgSnapshot {
                self.report_snapshot(&message, false);
            }
            return;
        }
        if self.random.one_in(30) {
            self.count.repeated += 1;
            self.network.push(message.clone());
        }
        self.deliver(message);
    }

    fn deliver(&mut self, message: Message) {
        let is_cut = self.cut.contains(&(message.from, message.to));
        let is_up = self.hosts.get(&message.to).is_some_and(|host| host.node.is_some() && !host.is_removed);
        let has_arrived = is_up && !is_cut;
        if message.msg_type() == MessageType::MsgSnapshot {
            self.report_snapshot(&message, has_arrived);
        }
        if has_arrived {
            let to = message.to;
            self.node(to).step(message);
            self.settle(to);
        } else {
            self.count.lost += 1;
            if self.hosts.get(&message.from).is_some_and(|host| host.node.is_some()) {
                self.node(message.from).unreachable(message.to);
            }
        }
    }

    fn report_snapshot(&mut self, message: &Message, has_arrived: bool) {
        self.count.snapshots += u64::from(has_arrived);
        if self.hosts.get(&message.from).is_some_and(|host| host.node.is_some()) {
            self.node(message.from).snapshot_sent(message.to, has_arrived);
        }
    }

    fn propose(&mut self) {
        let up = self.ids(true);
        let Some(id) = self.pick(&up) else { return };
        let (reply, answer) = oneshot::channel();
        let at_ms = self.now_ms;
        let (command, waiting) = if self.random.one_in(4) {
            (registration(&mut self.random), Waiting::Other(answer))
        } else {
            // Some are sent again, also to other members.
            let number = self.submissions.saturating_sub(self.random.below(4));
            self.submissions += 1;
            let name = format!("s-{number}");
            (bounded(submission(&name, number), id), Waiting::Submission(name, answer))
        };
        self.node(id).propose(at_ms, &command, reply).unwrap();
        self.waiting.push(waiting);
        self.settle(id);
    }

    fn crash_one(&mut self) {
        let up = self.ids(true);
        if let Some(id) = self.pick(&up) {
            self.crash(id);
        }
    }

    fn restart_one(&mut self) {
        let down = self.ids(false);
        if let Some(id) = self.pick(&down) {
            self.start(id);
        }
    }

    /// One member alone, or one direction between two.
    fn partition(&mut self) {
        let ids: Vec<u64> = self.hosts.keys().copied().collect();
        let Some(one) = self.pick(&ids) else { return };
        let is_whole = self.random.one_in(2);
        let other = self.pick(&ids).unwrap_or(one);
        for id in ids {
            if is_whole {
                self.cut.insert((one, id));
                self.cut.insert((id, one));
            }
        }
        self.cut.insert((one, other));
        self.count.partitions += 1;
    }

    /// The log is dropped up to here, so that members that lag need the snapshot.
    fn cut_log(&mut self) {
        let up = self.ids(true);
        if let Some(id) = self.pick(&up) {
            self.node(id).cut_all().unwrap();
        }
    }

    fn change_members(&mut self) {
        let Some(leader) = self.leader() else { return };
        let group = self.node(leader).group();
        let learner = group.members.iter().find(|member| !member.is_voter);
        let next = self.hosts.keys().last().copied().unwrap_or(0) + 1;
        let change = match learner {
            Some(learner) => Change::Promote(learner.member.clone()),
            None if self.random.one_in(2) && next <= MAX_MEMBERS => {
                self.make(next, Directory::default(), Vec::new());
                Change::AddLearner(member(next))
            }
            None if group.members.len() > 3 => {
                // Also itself, which it hands over.
                let index = self.random.index(group.members.len());
                Change::Remove(group.members[index].member.id)
            }
            None => return,
        };
        let (reply, answer) = oneshot::channel();
        self.node(leader).propose_change(&change, reply);
        self.waiting.push(Waiting::Change(change, answer));
        self.settle(leader);
    }

    fn leader(&self) -> Option<u64> {
        let leads = |host: &Host| host.node.as_ref().is_some_and(|node| node.status().role == Role::Leader);
        self.hosts.iter().filter(|(_, host)| leads(host)).map(|(id, _)| *id).next_back()
    }

    /// Lets a member do what it has to do, and checks it.
    fn settle(&mut self, id: u64) {
        let host = self.hosts.get_mut(&id).unwrap();
        let node = host.node.as_mut().unwrap();
        let network = &mut self.network;
        node.handle_ready(&mut |message| network.push(message)).unwrap();
        let status = node.status();
        if status.role == Role::Leader {
            let leader = *self.leaders.entry(status.term).or_insert_with(|| {
                self.count.elections += 1;
                id
            });
            assert_eq!(leader, id, "term {} has two leaders", status.term);
        }
        let state = host.state.read().unwrap();
        let found = digest::of_state(&state).unwrap();
        invariants::check(&state).unwrap_or_else(|broken| panic!("on member {id}: {broken}"));
        let known = self.digests.entry(status.applied).or_insert_with(|| found.clone());
        assert_eq!(*known, found, "member {id} differs from another one at entry {}", status.applied);
    }

    /// Takes the answers that have come.
    fn collect(&mut self) {
        for mut waiting in std::mem::take(&mut self.waiting) {
            let answer = match &mut waiting {
                Waiting::Submission(_, answer) | Waiting::Other(answer) | Waiting::Change(_, answer) => answer,
            };
            let answer = match answer.try_recv() {
                Err(TryRecvError::Empty) => {
                    self.waiting.push(waiting);
                    continue;
                }
                Err(TryRecvError::Closed) | Ok(Err(_)) => {
                    self.count.refused += 1;
                    continue;
                }
                Ok(Ok(events)) => events,
            };
            match waiting {
                Waiting::Submission(name, _) => self.acknowledge(name, &answer),
                Waiting::Change(Change::Remove(id), _) => {
                    self.count.removals += 1;
                    let host = self.hosts.get_mut(&id).unwrap();
                    host.node = None;
                    host.is_removed = true;
                }
                Waiting::Change(Change::Promote(_), _) => self.count.joins += 1,
                Waiting::Change(Change::AddLearner(_), _) | Waiting::Other(_) => {}
            }
        }
    }

    fn acknowledge(&mut self, name: String, events: &[Event]) {
        let app = match events.first() {
            Some(Event::Submitted { app, .. }) => app,
            Some(Event::Rejected(fault)) if fault.code == "queue-full" => {
                assert!(!self.acknowledged.contains_key(&name), "{name} was accepted before, and now: {fault}");
                self.count.full += 1;
                return;
            }
            _ => panic!("{name}: {events:?}"),
        };
        self.count.acknowledged += 1;
        let known = self.acknowledged.entry(name).or_insert_with_key(|_| app.clone());
        assert_eq!(known, app, "one submission became two applications");
    }
}

fn member(id: u64) -> Member {
    Member { id, address: format!("h{id}:1"), incarnation: format!("i{id}") }
}

fn submission(name: &str, number: u64) -> Command {
    let options = Options {
        name: "n".to_owned(),
        job_name: format!("job-{}", number % 3),
        total_executor_cores: 0,
        driver_memory_bytes: 100,
        supervise: true,
        max_attempts: 3,
        deploy_mode: DeployMode::Cluster,
    };
    Command::Submit(Submission {
        id: name.parse().unwrap(),
        pipeline: "{}".to_owned(),
        options,
        bound: None,
        traceparent: String::new(),
    })
}

/// Every master has another bound; the one that proposes counts.
fn bounded(command: Command, proposer: u64) -> Command {
    match command {
        Command::Submit(submission) => {
            Command::Submit(Submission { bound: Some(QueueBound::of(6 + proposer)), ..submission })
        }
        other => other,
    }
}

fn registration(random: &mut Random) -> Command {
    Command::WorkerRegistered(Registration {
        instance: format!("i-{}", random.below(30)),
        host: "h".to_owned(),
        grpc_port: u16::try_from(random.below(4)).unwrap(),
        flight_port: 1,
        http_port: 1,
        cores: 2,
        memory_bytes: 1_000,
    })
}
