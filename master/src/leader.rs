//! The leader's loop: observe, decide, propose; reconcile, execute. Edge; the verbs themselves are in the core.
//!
//! It keeps nothing that matters: what it does follows from the state and from what is seen, so a new leader, or this
//! one after a restart, goes on where the last one stopped.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use lake_master_core::{Observed, decide, drained, reconcile};
use lake_proto::AppId;
use lake_raft::Role;
use tokio::time::MissedTickBehavior;

use crate::clock::now_ms;
use crate::effects;
use crate::master::Master;
use crate::records;
use crate::reign::Reign;

/// Silence is noticed this often even when nothing happens.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// Rounds of decisions that follow from each other before effects are carried out.
const MAX_ROUNDS: usize = 16;

/// Runs until the master stops. A failed proposal is logged; the next look tries again.
pub(crate) async fn lead(master: Arc<Master>) {
    let mut status = master.raft.watch();
    let mut clock = tokio::time::interval(LOOK_EVERY);
    clock.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut term: Option<Term> = None;
    loop {
        let reign = master.reign();
        tokio::select! {
            () = master.stop.cancelled() => return,
            changed = status.changed() => if changed.is_err() { return },
            () = reign.fleet.changed() => {}
            _ = clock.tick() => {}
        }
        let now = *status.borrow_and_update();
        // Another term is another reign, even when this master was not seen to lose the one before.
        if term.as_ref().is_some_and(|term| now.role != Role::Leader || term.number != now.term) {
            tracing::warn!(term = now.term, role = now.role.name(), "this master no longer leads as before");
            term = None;
            master.end_reign().await;
        }
        if now.role == Role::Leader {
            let reign = master.reign();
            let term = match term.as_mut() {
                Some(term) => term,
                None => {
                    tracing::info!(term = now.term, "this master leads");
                    effects::probe_absent(&master, &reign);
                    term.insert(begin(&master, &reign, now.term))
                }
            };
            look(&master, &reign, term).await;
        }
    }
}

/// What is remembered while leading.
struct Term {
    number: u64,
    since_ms: u64,
    /// Applications that had a driver at the last look.
    running: BTreeSet<AppId>,
    /// The application that had ended last at the last look.
    last_ended: Option<AppId>,
}

/// What was before is known by the state alone: such applications are told apart.
fn begin(master: &Master, reign: &Reign, number: u64) -> Term {
    let (inherited, last_ended) = master.raft.read(|state| {
        let waiting = state.waiting().filter(|application| application.attempt > 0);
        let begun = state.running().chain(waiting).map(|application| application.id.clone());
        let last = state.latest_ended().next().map(|application| application.id.clone());
        (begun.collect::<BTreeSet<AppId>>(), last)
    });
    reign.inherit(inherited);
    Term { number, since_ms: now_ms(), running: BTreeSet::new(), last_ended }
}

async fn look(master: &Arc<Master>, reign: &Arc<Reign>, term: &mut Term) {
    for _ in 0..MAX_ROUNDS {
        follow_up(master, reign, term).await;
        let observed = reign.fleet.observed(term.since_ms);
        let commands = master.raft.read(|state| decide(state, &observed));
        if commands.is_empty() {
            break;
        }
        for command in commands {
            if let Err(fault) = master.raft.propose(command).await {
                tracing::warn!(error.class = %fault.class, error.code = fault.code, "a decision was not taken: {fault}");
                return;
            }
        }
    }
    let observed = reign.fleet.observed(term.since_ms);
    let effects = master.raft.read(|state| reconcile(state, &observed));
    for effect in effects {
        effects::execute(reign, effect);
    }
    release_drained(master, reign, &observed).await;
}

/// Lets draining workers go on which no driver is left, and of which the scheduler needs nothing. Assignments are
/// decided in this loop too, and the scheduler hears that a worker drains before this loop does: neither gives it
/// anything after it was found free.
async fn release_drained(master: &Master, reign: &Reign, observed: &Observed) {
    for worker in master.raft.read(|state| drained(state, observed)) {
        if reign.fleet.unreleased(&worker).is_some() && !reign.scheduler.needs(worker.clone()).await {
            effects::release(reign, &worker);
        }
    }
}

/// Tells the scheduler and the streams what the state has given up.
async fn follow_up(master: &Master, reign: &Reign, term: &mut Term) {
    let lost = master.raft.read(|state| reign.fleet.take_lost(state));
    for (worker, link) in lost {
        reign.scheduler.worker_lost(worker.clone()).await;
        if let Some(link) = link {
            effects::reject(&link, &worker);
        }
    }
    let running: BTreeSet<AppId> =
        master.raft.read(|state| state.running().map(|application| application.id.clone()).collect());
    if running != term.running {
        master.raft.read(|state| reign.fleet.forget_drivers(state));
        for app in running.difference(&term.running) {
            let pipeline = master.raft.read(|state| state.application(app)?.pipeline.clone());
            reign.pipelines.remember(app, &pipeline.unwrap_or_default());
        }
    }
    term.running = running;
    let ended: Vec<AppId> = master.raft.read(|state| {
        let is_new = |app: &AppId| Some(app) != term.last_ended.as_ref();
        state.latest_ended().map(|application| application.id.clone()).take_while(is_new).collect()
    });
    if let Some(last) = ended.first() {
        term.last_ended = Some(last.clone());
    }
    for app in ended.iter().rev() {
        records::close(master, reign, app).await;
    }
}
