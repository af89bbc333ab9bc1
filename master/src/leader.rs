//! The leader's loop: observe, decide, propose; reconcile, execute. Edge; the verbs themselves are in the core.
//!
//! It keeps nothing that matters: what it does follows from the state and from what is seen, so a new leader, or this
//! one after a restart, goes on where the last one stopped.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use lake_master_core::{Observed, decide, drained, reconcile, view};
use lake_proto::AppId;
use lake_raft::Role;
use tokio::time::MissedTickBehavior;

use crate::clock::now_ms;
use crate::effects;
use crate::master::Master;
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
                    term.insert(Term { number: now.term, since_ms: now_ms(), running: BTreeSet::new() })
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
    let (running, gone) = master.raft.read(|state| {
        let running: BTreeSet<AppId> = state.running().map(|application| application.id.clone()).collect();
        let is_over = |app: &&AppId| state.application(app).is_none_or(view::is_over);
        let gone: Vec<AppId> = term.running.iter().filter(is_over).cloned().collect();
        (running, gone)
    });
    if running != term.running {
        master.raft.read(|state| reign.fleet.forget_drivers(state));
    }
    term.running = running;
    for app in gone {
        reign.scheduler.application_ended(app).await;
    }
}
