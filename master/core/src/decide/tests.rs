use lake_proto::{DriverId, WorkerId};

use super::*;
use crate::application::{DeployMode, Options};
use crate::command::{Exit, Registration, Stamped, Submission};
use crate::drain::drained;
use crate::observed::{Seen, Timeouts};
use crate::reconcile::{Effect, reconcile};
use crate::view::{self, Live, LiveWorker};

const START_MS: u64 = 1_000_000;

struct Leader {
    state: State,
    observed: Observed,
    index: u64,
}

impl Leader {
    fn new() -> Self {
        let observed = Observed { now_ms: START_MS, leading_since_ms: START_MS, ..Observed::default() };
        Self { state: State::default(), observed, index: 0 }
    }

    fn apply(&mut self, command: Command) {
        self.index += 1;
        crate::apply(&mut self.state, Stamped { at_ms: self.observed.now_ms, index: self.index, command });
    }

    fn submit(&mut self, deploy_mode: DeployMode) -> DriverId {
        self.submit_as(deploy_mode, 100)
    }

    fn submit_with_memory(&mut self, bytes: u64) -> DriverId {
        self.submit_as(DeployMode::Cluster, bytes)
    }

    fn submit_as(&mut self, deploy_mode: DeployMode, driver_memory_bytes: u64) -> DriverId {
        let options = Options {
            name: "n".to_owned(),
            job_name: format!("j-{}", self.index),
            total_executor_cores: 0,
            driver_memory_bytes,
            supervise: true,
            max_attempts: 3,
            deploy_mode,
        };
        let id = format!("s-{}", self.index).parse().unwrap();
        self.apply(Command::Submit(Submission {
            id,
            pipeline: "{}".to_owned(),
            options,
            bound: None,
            traceparent: String::new(),
        }));
        self.state.applications().last().unwrap().driver.clone()
    }

    /// Registers a worker and opens its stream.
    fn attach(&mut self, number: u16) -> WorkerId {
        self.apply(Command::WorkerRegistered(Registration {
            instance: format!("i-{number}"),
            host: "h".to_owned(),
            grpc_port: number,
            flight_port: 1,
            http_port: 1,
            cores: 1,
            memory_bytes: 250,
        }));
        let id = self.state.workers().last().unwrap().id.clone();
        self.reattach(&id);
        id
    }

    fn reattach(&mut self, worker: &WorkerId) {
        let now_ms = self.observed.now_ms;
        let seen = ObservedWorker {
            is_attached: true,
            attached_at_ms: now_ms,
            heard_at_ms: now_ms,
            reported_at_ms: now_ms,
            ..ObservedWorker::default()
        };
        self.observed.workers.insert(worker.clone(), seen);
    }

    fn after(&mut self, ms: u64) {
        self.observed.now_ms += ms;
    }

    fn heartbeat(&mut self, worker: &WorkerId, drivers: &[(&DriverId, u64)]) {
        let now_ms = self.observed.now_ms;
        let seen = self.observed.workers.get_mut(worker).unwrap();
        seen.heard_at_ms = now_ms;
        seen.reported_at_ms = now_ms;
        seen.drivers = drivers.iter().map(|(driver, epoch)| ((*driver).clone(), *epoch)).collect();
        for (driver, epoch) in drivers {
            seen.seen.insert((*driver).clone(), Seen { epoch: *epoch, at_ms: now_ms });
        }
    }

    /// Carries out launches as the edge does: sent means seen.
    fn execute(&mut self) -> Vec<Effect> {
        let effects = reconcile(&self.state, &self.observed);
        for effect in &effects {
            if let Effect::LaunchDriver { worker, driver, epoch, .. } = effect {
                let seen = Seen { epoch: *epoch, at_ms: self.observed.now_ms };
                self.observed.workers.get_mut(worker).unwrap().seen.insert(driver.clone(), seen);
            }
        }
        effects
    }

    fn decide(&self) -> Vec<Command> {
        decide(&self.state, &self.observed)
    }

    fn drain(&mut self, worker: &WorkerId) {
        self.observed.workers.get_mut(worker).unwrap().is_draining = true;
    }

    /// A driver that was assigned and sent.
    fn launched(&mut self) -> (DriverId, WorkerId, u64) {
        let worker = self.attach(1);
        let driver = self.submit(DeployMode::Cluster);
        let commands = self.decide();
        assert_eq!(commands, [Command::AssignDriver { driver: driver.clone(), worker: worker.clone() }]);
        self.apply(commands[0].clone());
        let epoch = self.index;
        assert!(matches!(self.execute().as_slice(), [Effect::LaunchDriver { .. }]));
        (driver, worker, epoch)
    }
}

#[test]
fn drivers_wait_until_a_worker_is_attached_and_are_sent_once() {
    let mut leader = Leader::new();
    leader.submit(DeployMode::Cluster);
    assert_eq!(leader.decide(), []);
    let (..) = leader.launched_after_submission();
    assert_eq!(leader.execute(), []);
}

impl Leader {
    fn launched_after_submission(&mut self) -> (WorkerId, u64) {
        let worker = self.attach(1);
        let commands = self.decide();
        assert!(matches!(commands.as_slice(), [Command::AssignDriver { .. }]));
        self.apply(commands[0].clone());
        assert_eq!(self.execute().len(), 1);
        (worker, self.index)
    }
}

#[test]
fn a_silent_worker_is_lost_and_an_unreachable_one_at_once() {
    let mut leader = Leader::new();
    let worker = leader.attach(1);
    leader.after(Timeouts::default().worker_ms);
    assert_eq!(leader.decide(), []);
    leader.after(1);
    assert!(matches!(leader.decide().as_slice(), [Command::WorkerLost { .. }]));

    leader.heartbeat(&worker, &[]);
    leader.observed.unreachable.push(worker.clone());
    assert_eq!(leader.decide(), [], "an open stream is better evidence than a probe");
    leader.observed.workers.get_mut(&worker).unwrap().is_attached = false;
    assert!(matches!(leader.decide().as_slice(), [Command::WorkerLost { .. }]));
}

#[test]
fn after_a_restart_workers_get_time_to_come_back() {
    let mut leader = Leader::new();
    leader.attach(1);
    leader.observed.workers.clear();
    leader.after(60_000);
    leader.observed.leading_since_ms = leader.observed.now_ms;
    assert_eq!(leader.decide(), []);
    leader.after(Timeouts::default().recovery_ms + 1);
    assert!(matches!(leader.decide().as_slice(), [Command::WorkerLost { .. }]));
}

#[test]
fn a_driver_its_worker_does_not_list_is_lost_after_a_while() {
    let mut leader = Leader::new();
    let (driver, worker, epoch) = leader.launched();
    leader.after(2_000);
    leader.heartbeat(&worker, &[]);
    assert_eq!(leader.decide(), [], "the launch may still be under way");
    leader.heartbeat(&worker, &[(&driver, epoch)]);
    leader.after(7_000);
    leader.heartbeat(&worker, &[]);
    assert!(matches!(leader.decide().as_slice(), [Command::DriverLost { .. }]));
    leader.heartbeat(&worker, &[(&driver, epoch)]);
    assert_eq!(leader.decide(), []);
}

#[test]
fn a_reattached_worker_keeps_its_drivers_and_loses_the_absent_ones() {
    let mut leader = Leader::new();
    let (driver, worker, epoch) = leader.launched();
    leader.apply(Command::DriverStarted { driver: driver.clone(), epoch });
    leader.after(60_000);
    leader.observed.workers.clear();
    leader.observed.leading_since_ms = leader.observed.now_ms;

    leader.reattach(&worker);
    leader.heartbeat(&worker, &[(&driver, epoch)]);
    leader.after(2_000);
    leader.heartbeat(&worker, &[(&driver, epoch)]);
    assert_eq!((leader.decide(), leader.execute()), (vec![], vec![]));

    leader.reattach(&worker);
    leader.after(7_000);
    leader.heartbeat(&worker, &[]);
    assert!(matches!(leader.decide().as_slice(), [Command::DriverLost { .. }]));
    assert_eq!(leader.execute(), [], "a driver that has run is not started twice in one attempt");
}

#[test]
fn an_assignment_that_was_never_sent_is_sent_after_the_first_heartbeat() {
    let mut leader = Leader::new();
    let worker = leader.attach(1);
    leader.submit(DeployMode::Cluster);
    let commands = leader.decide();
    leader.apply(commands[0].clone());
    leader.after(10);
    leader.reattach(&worker);
    assert_eq!(leader.execute(), []);
    leader.after(2_000);
    leader.heartbeat(&worker, &[]);
    assert!(matches!(leader.execute().as_slice(), [Effect::LaunchDriver { .. }]));
}

#[test]
fn a_killed_driver_is_told_until_it_is_gone() {
    let mut leader = Leader::new();
    let (driver, worker, epoch) = leader.launched();
    leader.heartbeat(&worker, &[(&driver, epoch)]);
    let app = leader.state.application_of(&driver).unwrap().id.clone();
    leader.apply(Command::Kill { app });
    let kill = Effect::KillDriver { worker: worker.clone(), driver: driver.clone(), epoch };
    assert_eq!(leader.execute(), std::slice::from_ref(&kill));
    assert_eq!(leader.execute(), [kill]);
    leader.after(7_000);
    leader.heartbeat(&worker, &[]);
    assert!(matches!(leader.decide().as_slice(), [Command::DriverLost { .. }]));
}

#[test]
fn a_driver_killed_before_it_was_sent_is_over_at_once() {
    let mut leader = Leader::new();
    leader.attach(1);
    let driver = leader.submit(DeployMode::Cluster);
    let commands = leader.decide();
    leader.apply(commands[0].clone());
    let app = leader.state.application_of(&driver).unwrap().id.clone();
    leader.apply(Command::Kill { app });
    assert_eq!(leader.execute(), []);
    let commands = leader.decide();
    assert!(matches!(commands.as_slice(), [Command::DriverLost { .. }]));
    leader.apply(commands[0].clone());
    assert_eq!(leader.state.application_of(&driver).unwrap().phase.name(), "KILLED");
}

#[test]
fn strange_and_outdated_drivers_are_ended_but_one_that_finished_may_linger() {
    let mut leader = Leader::new();
    let (driver, worker, epoch) = leader.launched();
    let stranger: DriverId = "driver-x".parse().unwrap();
    leader.heartbeat(&worker, &[(&driver, epoch), (&stranger, 3)]);
    let ends_stranger = Effect::KillDriver { worker: worker.clone(), driver: stranger, epoch: 3 };
    assert_eq!(leader.execute(), [ends_stranger]);
    leader.apply(Command::DriverFinished { driver: driver.clone(), epoch, failure: None });
    leader.heartbeat(&worker, &[(&driver, epoch)]);
    assert_eq!(leader.execute(), []);
    leader.after(6_000);
    assert_eq!(leader.execute(), [Effect::KillDriver { worker, driver, epoch }]);
}

#[test]
fn a_client_that_does_not_call_is_lost() {
    let mut leader = Leader::new();
    let driver = leader.submit(DeployMode::Client);
    leader.after(30_000);
    assert_eq!(leader.decide(), []);
    leader.observed.calls.insert(driver.clone(), leader.observed.now_ms);
    leader.after(30_000);
    assert_eq!(leader.decide(), []);
    leader.after(1);
    let commands = leader.decide();
    assert!(matches!(commands.as_slice(), [Command::DriverLost { .. }]));
    leader.apply(commands[0].clone());
    assert_eq!(leader.state.application_of(&driver).unwrap().phase.name(), "FAILED");
}

#[test]
fn a_driver_that_its_worker_lists_and_that_does_not_call_is_lost_unless_it_is_to_end() {
    let mut leader = Leader::new();
    let (driver, worker, epoch) = leader.launched();
    let app = leader.state.application_of(&driver).unwrap().id.clone();
    leader.apply(Command::DriverStarted { driver: driver.clone(), epoch });
    leader.observed.calls.insert(driver.clone(), leader.observed.now_ms);
    let pass = |leader: &mut Leader, ms: u64| {
        leader.after(ms);
        leader.heartbeat(&worker, &[(&driver, epoch)]);
    };
    pass(&mut leader, 30_000);
    assert_eq!(leader.decide(), []);
    pass(&mut leader, 1);
    let reason = "it did not call for 30000 ms".to_owned();
    assert_eq!(leader.decide(), [Command::DriverLost { driver: driver.clone(), epoch, reason }]);
    leader.apply(Command::Kill { app });
    assert_eq!(leader.decide(), [], "its worker is ending it");
}

#[test]
fn a_relaunch_waits_for_its_time_and_says_when_that_is() {
    let mut leader = Leader::new();
    let (driver, worker, epoch) = leader.launched();
    let waits_for = |leader: &Leader| view::find(&leader.state, driver.as_str()).unwrap().waits_for;
    let failure = Some(lake_proto::Fault::new(lake_proto::ErrorClass::Unavailable, "c", "m"));
    leader.apply(Command::DriverFinished { driver: driver.clone(), epoch, failure });
    // 1,000 s after the beginning of 1970, and five.
    assert_eq!(waits_for(&leader).unwrap(), "its next attempt, at 00:16:45 UTC");
    leader.after(4_999);
    leader.heartbeat(&worker, &[]);
    assert_eq!(leader.decide(), []);
    leader.after(1);
    let commands = leader.decide();
    assert!(matches!(commands.as_slice(), [Command::AssignDriver { .. }]));

    // One that was lost with its worker waits for nothing but another one.
    leader.apply(commands[0].clone());
    leader.apply(Command::WorkerLost { worker, reason: "r".to_owned() });
    leader.observed.workers.clear();
    leader.attach(2);
    assert_eq!(waits_for(&leader).unwrap(), "its next attempt");
    assert!(matches!(leader.decide().as_slice(), [Command::AssignDriver { .. }]));
}

#[test]
fn a_driver_that_is_only_to_settle_waits_for_its_time_too_and_says_so() {
    let mut leader = Leader::new();
    let (driver, worker, epoch) = leader.launched();
    let table = "t".to_owned();
    let permit = |epoch| Command::PermitCommit {
        driver: driver.clone(),
        epoch,
        table: table.clone(),
        run_number: 0,
        inputs: String::new(),
    };
    leader.apply(Command::DriverStarted { driver: driver.clone(), epoch });
    leader.apply(permit(epoch));
    let app = leader.state.application_of(&driver).unwrap().id.clone();
    leader.apply(Command::Kill { app });
    leader.apply(Command::DriverExited { driver: driver.clone(), epoch, exit: Exit::default() });
    let waits_for = |leader: &Leader| view::find(&leader.state, driver.as_str()).unwrap().waits_for.unwrap();
    assert_eq!(waits_for(&leader), "a driver that finds out what was committed");
    leader.heartbeat(&worker, &[]);
    leader.apply(leader.decide()[0].clone());
    let failure = Some(lake_proto::Fault::new(lake_proto::ErrorClass::Unavailable, "c", "m"));
    let epoch = leader.index;
    leader.apply(Command::DriverFinished { driver: driver.clone(), epoch, failure });
    assert_eq!(waits_for(&leader), "a driver that finds out what was committed, at 00:16:50 UTC");
}

#[test]
fn a_draining_worker_gets_no_driver_and_is_drained_when_its_own_are_gone() {
    let mut leader = Leader::new();
    let (driver, first, epoch) = leader.launched();
    assert_eq!(drained(&leader.state, &leader.observed), [], "it does not drain");
    leader.drain(&first);
    leader.submit(DeployMode::Cluster);
    assert_eq!(leader.decide(), [], "there is no other worker");
    assert_eq!(leader.execute(), [], "its driver runs on");
    assert_eq!(drained(&leader.state, &leader.observed), [], "a driver is on its way there");
    let second = leader.attach(2);
    let commands = leader.decide();
    assert!(matches!(commands.as_slice(), [Command::AssignDriver { worker, .. }] if *worker == second));
    leader.apply(commands[0].clone());

    leader.heartbeat(&first, &[(&driver, epoch)]);
    let exit = Exit { code: Some(0), signal: 0, fault: None };
    leader.apply(Command::DriverFinished { driver: driver.clone(), epoch, failure: None });
    leader.apply(Command::DriverExited { driver, epoch, exit });
    assert_eq!(drained(&leader.state, &leader.observed), [], "its process is still there");
    leader.heartbeat(&first, &[]);
    assert_eq!(drained(&leader.state, &leader.observed), std::slice::from_ref(&first));
    leader.observed.workers.get_mut(&first).unwrap().is_attached = false;
    assert_eq!(drained(&leader.state, &leader.observed), []);
}

#[test]
fn a_drained_worker_that_is_gone_has_left_and_is_not_lost() {
    let mut leader = Leader::new();
    let worker = leader.attach(1);
    leader.drain(&worker);
    leader.observed.workers.get_mut(&worker).unwrap().is_attached = false;
    assert_eq!(leader.decide(), [], "it may come back");
    leader.observed.unreachable.push(worker.clone());
    assert_eq!(leader.decide(), [Command::WorkerLeft { worker: worker.clone() }]);
    leader.observed.workers.get_mut(&worker).unwrap().is_draining = false;
    assert!(matches!(leader.decide().as_slice(), [Command::WorkerLost { .. }]));
}

#[test]
fn a_draining_worker_is_shown_as_such_until_it_is_gone_and_then_as_what_became_of_it() {
    let mut leader = Leader::new();
    let worker = leader.attach(1);
    let other = leader.attach(2);
    let live = Live::from([(worker.clone(), LiveWorker { is_draining: true, ..LiveWorker::default() })]);
    let shown = |leader: &Leader, live: &Live| view::workers(&leader.state, live)[0].state;
    assert_eq!(shown(&leader, &Live::default()), "ALIVE");
    assert_eq!(shown(&leader, &live), "DRAINING");
    leader.apply(Command::WorkerLeft { worker: worker.clone() });
    leader.apply(Command::WorkerLost { worker: other.clone(), reason: "r".to_owned() });
    let gone = view::workers(&leader.state, &live);
    let seen: Vec<_> =
        gone.iter().map(|gone| (gone.worker_id.as_str(), gone.state, gone.lost_reason.as_deref())).collect();
    assert_eq!(seen, [(worker.as_str(), "DECOMMISSIONED", None), (other.as_str(), "LOST", Some("r"))]);
    assert!(gone.iter().all(|gone| gone.gone_at_ms == START_MS));
}

#[test]
fn what_fits_no_worker_is_passed_over_and_says_so_and_few_are_assigned_at_once() {
    let mut leader = Leader::new();
    let mut large = Vec::new();
    for _ in 0..3 {
        large.push(leader.submit_with_memory(300));
    }
    let small: Vec<DriverId> = (0..100).map(|_| leader.submit_with_memory(2)).collect();
    leader.attach(1);
    let assigned = |leader: &Leader| -> Vec<DriverId> {
        let commands = decide(&leader.state, &leader.observed).into_iter();
        commands
            .map(|command| match command {
                Command::AssignDriver { driver, .. } => driver,
                other => panic!("{other:?}"),
            })
            .collect()
    };
    let first = assigned(&leader);
    assert_eq!(first, small[..ASSIGNMENTS_AT_ONCE]);
    for command in decide(&leader.state, &leader.observed) {
        leader.apply(command);
    }
    assert_eq!(assigned(&leader), small[ASSIGNMENTS_AT_ONCE..]);
    let view = view::find(&leader.state, large[0].as_str()).unwrap();
    assert_eq!(view.waits_for.unwrap(), "a worker with 0 MiB for the driver: the largest has 0 MiB");
}

#[test]
fn long_lists_come_in_pieces_and_none_is_left_out_or_shown_twice() {
    let mut leader = Leader::new();
    let mut drivers: Vec<String> = (0..7).map(|_| leader.submit(DeployMode::Cluster).to_string()).collect();
    let worker = leader.attach(1);
    let first: DriverId = drivers[0].parse().unwrap();
    leader.apply(Command::AssignDriver { driver: first, worker });
    let killed = leader.state.find(&drivers[3]).unwrap().id.clone();
    leader.apply(Command::Kill { app: killed });

    let ids = |views: Vec<view::ApplicationView>| views.into_iter().map(|view| view.driver_id).collect::<Vec<_>>();
    let active = [0, 1, 2, 4].map(|at| drivers[at].clone());
    assert_eq!(ids(view::active(&leader.state, 4)), active);
    assert_eq!(ids(view::ended(&leader.state, 4)), [drivers[3].clone()]);
    let counts = view::in_states(&leader.state).into_iter().collect::<Vec<_>>();
    assert_eq!(counts, [("KILLED", 1), ("RUNNING", 1), ("SUBMITTED", 5)]);

    let (mut listed, mut next) = (Vec::new(), Some(view::Before::NEWEST));
    while let Some(before) = next {
        let (piece, after) = view::newest(&leader.state, |_| true, before, 3);
        listed.extend(ids(piece));
        next = after;
    }
    drivers.reverse();
    assert_eq!(listed, drivers);

    let open: Vec<String> = drivers.iter().filter(|driver| **driver != drivers[3]).cloned().collect();
    for (skip, limit, at_once) in [(0, 9, 9), (0, 2, 1), (2, 3, 2), (5, 3, 7), (9, 3, 3), (0, 0, 4)] {
        let mut page = view::OpenPage::new(skip, limit);
        while page.look(&leader.state, |_| true, at_once) {}
        assert_eq!(page.count, 6);
        let end = (skip + limit).min(6);
        assert_eq!(ids(page.found), open[skip.min(6)..end.max(skip.min(6))], "{skip} {limit} {at_once}");
    }
    let mut waiting = view::OpenPage::new(0, 1);
    while waiting.look(&leader.state, |application| application.is_waiting(), 2) {}
    assert_eq!((waiting.count, ids(waiting.found)), (5, vec![drivers[0].clone()]));
}
