//! Random clusters against an oracle that counts every input row.
//!
//! Workers join, drain, leave and die; files vanish; reports are late, repeated and out of order; attempts fail for a
//! while, for good or by running too long; some get a second attempt beside them; queries are cancelled. At the end every query has ended, nothing is left, and a finished query
//! has every row exactly as often as its graph says, as read through the attempts that readers saw when launched.
//!
//! Some stages are not repeatable: what an attempt of theirs leaves behind is another content than what any other
//! attempt would leave. Every output carries the contents it derives from, and what a task reads, and what a finished
//! query answers, must derive from one content of each task.

mod oracle;
mod world;

use self::world::{Tally, World};

const SEEDS: u64 = 6_000;

/// Without `Graph::restart_readers` this fails within the first seeds (33 is the first one of the present sequence): the
/// answer derives in part from a content that was lost and in part from the one that took its place.
#[test]
fn every_row_is_counted_once_whatever_fails() {
    let only = std::env::var("LAKE_SIMULATION_SEED").ok().map(|seed| seed.parse().unwrap());
    let mut total = Tally::default();
    for seed in only.map_or(0..SEEDS, |seed: u64| seed..seed + 1) {
        let outcome = std::panic::catch_unwind(|| World::new(seed).run());
        match outcome {
            Ok(tally) => {
                total.finished += tally.finished;
                total.superseded += tally.superseded;
                total.copies += tally.copies;
                total.overtaken += tally.overtaken;
                total.overdue += tally.overdue;
            }
            Err(panic) => {
                eprintln!("simulation failed: repeat it with LAKE_SIMULATION_SEED={seed}");
                std::panic::resume_unwind(panic);
            }
        }
    }
    if only.is_some() {
        return;
    }
    assert!(total.finished > 0, "no query of any seed finished");
    assert!(total.superseded > 0, "no loss of any seed made a running attempt obsolete");
    assert!(total.copies > 0, "no attempt of any seed had another one beside it");
    assert!(total.overtaken > 0, "no second attempt of any seed was faster than the first one");
    assert!(total.overdue > 0, "no attempt of any seed ran too long");
}
