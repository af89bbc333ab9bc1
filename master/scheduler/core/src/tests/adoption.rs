//! What another leader takes over of a query, and what it does not.

use std::collections::{BTreeMap, BTreeSet};

use super::*;

/// An attempt as its worker reports it.
fn origin(stage: u32, task: u32, attempt: u64, on: u32) -> Origin {
    let (stage, task, attempt) = (StageId(stage), TaskIndex(task), Attempt(attempt));
    Origin { stage, task, attempt, worker: worker(on), lineage: 0 }
}

fn held(origin: Origin) -> HeldOutput<Output> {
    HeldOutput { origin, output: "rows", kept: Kept::OnWorker }
}

fn runs(origin: Origin) -> HeldAttempt {
    HeldAttempt { origin, cores: 1 }
}

const FIRST: u64 = 1 << 32;

impl Table {
    fn attach(
        &mut self,
        stages: Vec<StageDefinition>,
        outputs: Vec<HeldOutput<Output>>,
        attempts: Vec<HeldAttempt>,
    ) -> &[String] {
        self.attach_after(Spent::default(), stages, outputs, attempts)
    }

    fn attach_after(
        &mut self,
        spent: Spent,
        stages: Vec<StageDefinition>,
        outputs: Vec<HeldOutput<Output>>,
        attempts: Vec<HeldAttempt>,
    ) -> &[String] {
        let definition = QueryDefinition { id: query("q"), app: app("a"), cores_cap: None, stages };
        let left = Remains { attachment: 1, outputs, attempts, spent };
        self.event(Event::QueryAttached { definition, left })
    }

    /// What attempts of this stage are to be launched with.
    fn lineage(&self, stage: u32) -> u64 {
        self.machine.lineage(&query("q"), StageId(stage))
    }
}

fn two_stages() -> Vec<StageDefinition> {
    vec![stage(1, &[], 2), stage(2, &[1], 2)]
}

#[test]
fn what_is_held_and_what_runs_is_not_run_again() {
    let mut table = Table::new(&[2, 2]);
    let outputs = vec![held(origin(1, 0, 1, 0)), held(origin(1, 1, 2, 1)), held(origin(2, 1, 4, 1))];
    let moves = table.attach(two_stages(), outputs, vec![runs(origin(2, 0, 3, 0))]);
    assert_eq!(moves, ["adopted q done [1.0#1 1.1#2 2.1#4] running [2.0#3]"]);
    assert_eq!(table.machine.workers().map(|worker| worker.used).collect::<Vec<_>>(), [1, 0]);
    assert_eq!(table.ends(0, "q", 3, done()), ["finished q 2", "retired q"]);
}

#[test]
fn what_is_missing_is_run_under_numbers_that_no_earlier_leader_has_given() {
    let mut table = Table::new(&[2, 2]);
    let moves = table.attach(two_stages(), vec![held(origin(1, 0, 1, 0))], vec![]);
    assert_eq!(moves, ["adopted q done [1.0#1] running []", &format!("launch q/1.1#{FIRST}@w0")]);
    let inputs = ["launch q/2.0#4294967297@w0", "launch q/2.1#4294967298@w1"];
    assert_eq!(table.ends(0, "q", FIRST, done()), inputs);
}

#[test]
fn a_query_whose_tasks_are_all_held_ends_at_once() {
    let mut table = Table::new(&[2]);
    let outputs = vec![held(origin(2, 0, 3, 0)), held(origin(2, 1, 4, 0))];
    let running = vec![runs(origin(1, 1, 7, 0))];
    let expected = ["adopted q done [2.0#3 2.1#4] running [1.1#7]", "finished q 2", "cancel q/1.1#7@w0"];
    assert_eq!(table.attach(two_stages(), outputs, running), expected);
    assert_eq!(table.ends(0, "q", 7, Outcome::Cancelled), ["retired q"]);
}

#[test]
fn a_query_that_loses_workers_ends_after_the_third_also_when_the_leader_was_another_one() {
    let mut table = Table::new(&[2, 2]);
    let stages = || vec![StageDefinition { operators: "SortExec".to_owned(), ..stage(1, &[], 1) }];
    table.submit("q", "a", stages());
    table.lose(0);
    table.lose(1);
    let spent = table.machine.spent(&query("q")).unwrap();
    let ran = BTreeSet::from([StageId(1)]);
    assert_eq!(spent.worker_losses, BTreeMap::from([(worker(0), ran.clone()), (worker(1), ran)]));

    let mut next = Table::new(&[]);
    next.event(joined(worker(2), 1));
    next.attach_after(spent.clone(), stages(), vec![], vec![]);
    assert_eq!(next.machine.spent(&query("q")), Some(spent));
    let actions = next.machine.on_event(Duration::ZERO, Event::WorkerLost { worker: worker(2) });
    let fault = actions.into_iter().find_map(|action| match action {
        Action::Ended { end: QueryEnd::Failed(fault), .. } => Some(fault),
        _ => None,
    });
    let fault = fault.unwrap();
    assert_eq!(fault.code, "worker-losses");
    assert!(fault.message.contains("lost 3 workers"), "{fault}");
    assert!(fault.message.contains("3 of them ran stage 1 (SortExec)"), "{fault}");
}

#[test]
fn a_task_fails_four_times_also_when_the_leader_was_another_one() {
    let mut table = Table::new(&[1]);
    table.submit("q", "a", vec![stage(1, &[], 2)]);
    table.ends(0, "q", 1, transient());
    table.ends(0, "q", 2, transient());
    let spent = table.machine.spent(&query("q")).unwrap();
    assert_eq!(spent.task_failures, BTreeMap::from([((StageId(1), TaskIndex(0)), 2)]));

    let mut next = Table::new(&[1]);
    let running = vec![runs(origin(1, 0, 4, 0))];
    next.attach_after(spent, vec![stage(1, &[], 2)], vec![], running);
    assert_eq!(next.ends(0, "q", 4, transient()), [format!("launch q/1.1#{FIRST}@w0")], "the third failure of task 0");
    assert!(next.ends(0, "q", FIRST, done()).is_empty());
    assert_eq!(next.wait(), [format!("launch q/1.0#{}@w0", FIRST + 1)]);
    assert_eq!(next.ends(0, "q", FIRST + 1, transient()), ["failed q store", "retired q"]);
    assert_eq!(next.machine.spent(&query("q")), None);
}

#[test]
fn of_several_candidates_one_counts_and_a_done_one_before_a_running_one() {
    let mut table = Table::new(&[2, 2]);
    let outputs = vec![held(origin(1, 0, 1, 0)), held(origin(1, 0, 5, 1)), held(origin(1, 1, 2, 0))];
    let running = vec![runs(origin(1, 1, 6, 1)), runs(origin(2, 0, 7, 0)), runs(origin(2, 0, 8, 1))];
    let moves = table.attach(two_stages(), outputs, running);
    assert_eq!(moves[0], "adopted q done [1.0#5 1.1#2] running [2.0#7]");
    for (on, attempt) in [(1, 6), (1, 8), (0, 1)] {
        assert!(table.ends(on, "q", attempt, done()).is_empty(), "attempt {attempt} is nobody's");
    }
}

#[test]
fn what_cannot_be_is_ignored() {
    let mut table = Table::new(&[2]);
    let wrong = [
        ("a worker that is not here", origin(1, 0, 1, 9)),
        ("a number that is yet to be given", origin(1, 0, FIRST, 0)),
        ("no such stage", origin(7, 0, 1, 0)),
        ("no such task", origin(1, 2, 1, 0)),
        ("another lineage", Origin { lineage: 4, ..origin(1, 0, 1, 0) }),
    ];
    for (what, origin) in wrong {
        let moves = table.attach(two_stages(), vec![held(origin.clone())], vec![runs(origin)]).to_vec();
        assert_eq!(moves[0], "adopted q done [] running []", "{what}");
        table = Table::new(&[2]);
    }
    table.attach(two_stages(), vec![], vec![]);
    assert_eq!(table.attach(two_stages(), vec![], vec![]), ["refused q query-id"]);
}

/// Stage 1 comes out differently each time; 2 reads it, 3 reads 2, 4 reads both.
fn changeable_above() -> Vec<StageDefinition> {
    vec![changeable(1, &[], 2), stage(2, &[1], 1), stage(3, &[2], 1), stage(4, &[1, 3], 2)]
}

/// Runs [`changeable_above`] until stage 4 runs; the lineages of stages 1 to 4.
fn lineages() -> [u64; 4] {
    let mut table = Table::new(&[4]);
    table.submit("q", "a", changeable_above());
    (1..=4).for_each(|attempt| {
        table.ends(0, "q", attempt, done());
    });
    [1, 2, 3, 4].map(|stage| table.lineage(stage))
}

#[test]
fn readers_of_the_attempt_that_is_taken_over_are_taken_over_too() {
    let lineage = lineages();
    assert_eq!(lineage[0], 0, "nothing above it could have come out differently");
    assert!(lineage[1..].iter().all(|lineage| *lineage != 0));
    let mut table = Table::new(&[4]);
    let of =
        |stage: u32, task, attempt| Origin { lineage: lineage[stage as usize - 1], ..origin(stage, task, attempt, 0) };
    let outputs = vec![held(of(1, 0, 1)), held(of(1, 1, 2)), held(of(2, 0, 3)), held(of(4, 1, 6))];
    let moves = table.attach(changeable_above(), outputs, vec![runs(of(4, 0, 5))]);
    let expected = ["adopted q done [1.0#1 1.1#2 2.0#3 4.1#6] running [4.0#5]", "launch q/3.0#4294967296@w0"];
    assert_eq!(moves, expected, "what 3 gives is known, and so is what 4 has read of it");
    assert_eq!(table.lineage(3), lineage[2]);
}

#[test]
fn while_an_output_that_comes_out_differently_is_missing_nothing_that_has_read_it_counts() {
    let lineage = lineages();
    let mut table = Table::new(&[4]);
    let of = |stage: u32, attempt| Origin { lineage: lineage[stage as usize - 1], ..origin(stage, 0, attempt, 0) };
    let outputs = vec![held(of(1, 1)), held(of(2, 3)), held(of(3, 4)), held(of(4, 5))];
    let moves = table.attach(changeable_above(), outputs, vec![runs(of(4, 6))]);
    assert_eq!(moves, ["adopted q done [1.0#1] running []", "launch q/1.1#4294967296@w0"]);
}

#[test]
fn readers_of_another_attempt_than_the_one_that_is_taken_over_are_run_again() {
    let lineage = lineages();
    let mut table = Table::new(&[4, 4]);
    let of = |stage: u32, attempt| Origin { lineage: lineage[stage as usize - 1], ..origin(stage, 0, attempt, 0) };
    // 1.1#2 was lost and made again as #9 before the leader went: w0 still holds what had read #2.
    let outputs = vec![held(of(1, 1)), held(origin(1, 1, 9, 1)), held(of(2, 3)), held(of(3, 4)), held(of(4, 5))];
    let moves = table.attach(changeable_above(), outputs, vec![]);
    assert_eq!(moves, ["adopted q done [1.0#1 1.1#9] running []", "launch q/2.0#4294967296@w0"]);
    assert_ne!(table.lineage(2), lineage[1]);
}
