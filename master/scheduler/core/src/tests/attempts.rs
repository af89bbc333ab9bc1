//! Two attempts of one task, attempts that run too long, and what is said of a stage that fails.

use std::time::Duration;

use super::*;

impl Table {
    fn straggle(&mut self, name: &str, attempts: &[u64]) -> &[String] {
        let attempts = attempts.iter().copied().map(Attempt).collect();
        self.event(Event::Stragglers { query: query(name), attempts })
    }

    fn overdue(&mut self, name: &str, attempt: u64) -> &[String] {
        let limit = Duration::from_secs(90);
        self.event(Event::AttemptOverdue { query: query(name), attempt: Attempt(attempt), limit })
    }

    /// The fault that the event ends a query with.
    fn fault(&mut self, event: Event<Output>) -> Fault {
        let actions = self.machine.on_event(self.now, event);
        let fault = actions.into_iter().find_map(|action| match action {
            Action::Ended { end: QueryEnd::Failed(fault), .. } => Some(fault),
            _ => None,
        });
        fault.expect("the query has failed")
    }
}

fn named_stage(id: u32, inputs: &[u32], tasks: u32, operators: &str) -> StageDefinition {
    StageDefinition { operators: operators.to_owned(), ..stage(id, inputs, tasks) }
}

#[test]
fn whichever_of_two_attempts_is_first_wins_and_the_other_is_cancelled() {
    for (winner, beaten) in [(1, 2), (2, 1)] {
        let mut table = Table::new(&[1, 1]);
        table.submit("q", "a", vec![stage(1, &[], 1), stage(2, &[1], 1)]);
        assert_eq!(table.straggle("q", &[1]), ["launch q/1.0#2@w1"]);
        let on = |attempt: u64| u32::try_from(attempt - 1).unwrap();
        let cancel = format!("cancel q/1.0#{beaten}@w{}", on(beaten));
        let launch = format!("launch q/2.0#3@w{}", on(winner));
        assert_eq!(table.ends(on(winner), "q", winner, done()), [cancel, launch], "its cores are not free yet");
        let inputs = table.machine.inputs(&query("q"), StageId(1)).unwrap();
        assert_eq!(inputs[0].attempt, Attempt(winner));
        assert!(!table.machine.awaits(&query("q"), Attempt(beaten)));
        assert!(table.ends(on(beaten), "q", beaten, done()).is_empty(), "too late to be cancelled, and counts not");
        assert_eq!(table.machine.inputs(&query("q"), StageId(1)).unwrap().len(), 1);
        assert_eq!(table.ends(on(winner), "q", 3, done()), ["finished q 1", "retired q"]);
        assert!(table.machine.ledger.is_empty());
    }
}

#[test]
fn the_beaten_attempt_of_the_last_task_is_cancelled_once_with_the_query() {
    let mut table = Table::new(&[1, 1]);
    table.submit("q", "a", vec![stage(1, &[], 1)]);
    table.straggle("q", &[1]);
    assert_eq!(table.ends(1, "q", 2, done()), ["finished q 1", "cancel q/1.0#1@w0"]);
    assert_eq!(table.ends(0, "q", 1, Outcome::Cancelled), ["retired q"]);
}

#[test]
fn a_second_attempt_runs_elsewhere_and_there_is_no_third() {
    let mut table = Table::new(&[4]);
    table.submit("q", "a", vec![stage(1, &[], 1)]);
    assert!(table.straggle("q", &[1]).is_empty(), "there is no other worker");
    assert!(table.event(joined(worker(1), 4)).is_empty(), "what got no place is forgotten");
    assert_eq!(table.straggle("q", &[1]), ["launch q/1.0#2@w1"]);
    table.event(joined(worker(2), 4));
    assert!(table.straggle("q", &[1, 2]).is_empty());
    assert!(table.straggle("q", &[9]).is_empty(), "nobody knows it");
    assert!(table.straggle("other", &[1]).is_empty());
}

#[test]
fn a_second_attempt_takes_no_core_that_a_waiting_task_wants() {
    let mut table = Table::new(&[3, 2]);
    let launched = ["launch q/1.0#1@w0", "launch q/1.1#2@w0", "launch q/1.2#3@w1"];
    assert_eq!(table.submit("q", "a", vec![stage(1, &[], 3)]), launched);
    table.submit("r", "b", vec![StageDefinition { cores: 3, ..stage(1, &[], 1) }]);
    assert!(table.straggle("q", &[3]).is_empty(), "the free core of w0 is reserved for r");
    assert_eq!(table.straggle("q", &[1, 2]), ["launch q/1.0#4@w1"], "w1 is too small for r, and has one core");
}

#[test]
fn a_second_attempt_counts_against_the_cap_of_its_application() {
    let mut table = Table::new(&[4, 4]);
    table.submit_capped("q", "a", Some(3), vec![stage(1, &[], 2)]);
    assert_eq!(table.straggle("q", &[1, 2]), ["launch q/1.0#3@w1"]);
    assert_eq!(table.ends(0, "q", 1, done()), ["cancel q/1.0#3@w1"]);
    assert_eq!(table.straggle("q", &[2]), ["launch q/1.1#4@w0"], "the cores of 1.0 are used by two at most");
}

#[test]
fn the_failure_of_one_of_two_counts_and_the_other_goes_on() {
    let mut table = Table::new(&[1, 1, 1]);
    table.submit("q", "a", vec![stage(1, &[], 1)]);
    table.straggle("q", &[1]);
    assert!(table.ends(0, "q", 1, transient()).is_empty(), "the other one runs");
    assert!(table.machine.awaits(&query("q"), Attempt(2)));
    assert_eq!(table.straggle("q", &[2]), ["launch q/1.0#3@w2"], "not where it has failed");
    assert!(table.ends(2, "q", 3, transient()).is_empty());
    assert!(table.straggle("q", &[2]).is_empty(), "it has failed on all others");
    assert!(table.ends(1, "q", 2, transient()).is_empty());
    assert_eq!(table.wait(), ["launch q/1.0#4@w0"]);
    assert_eq!(table.ends(0, "q", 4, transient()), ["failed q store", "retired q"], "four in all");
}

#[test]
fn the_loss_of_a_worker_takes_only_its_attempt() {
    let mut table = Table::new(&[1, 1]);
    table.submit("q", "a", vec![stage(1, &[], 1)]);
    table.straggle("q", &[1]);
    assert!(table.lose(0).is_empty(), "the second attempt goes on");
    assert_eq!(table.machine.stages(&query("q")).unwrap()[0].running, 1);
    table.event(joined(worker(2), 1));
    assert_eq!(table.lose(1), ["launch q/1.0#3@w2"], "none is left");
    assert_eq!(table.ends(2, "q", 3, done()), ["finished q 1", "retired q"]);
}

#[test]
fn both_attempts_are_taken_back_when_what_they_have_read_comes_out_differently() {
    let mut table = Table::new(&[2, 2]);
    table.submit("q", "a", vec![changeable(1, &[], 1), stage(2, &[1], 1)]);
    assert_eq!(table.ends(0, "q", 1, done()), ["launch q/2.0#2@w0"]);
    assert_eq!(table.straggle("q", &[2]), ["launch q/2.0#3@w1"]);
    let moves = ["cancel q/2.0#3@w1", "launch q/1.0#4@w1"];
    assert_eq!(table.ends(0, "q", 2, fetch_failed(1, 0)), moves);
    assert!(table.ends(1, "q", 3, done()).is_empty());
    assert_eq!(table.ends(1, "q", 4, done()), ["launch q/2.0#5@w0"]);
}

#[test]
fn no_second_attempt_reads_an_input_that_is_being_made_again() {
    let mut table = Table::new(&[1, 1, 1]);
    table.submit("q", "a", vec![stage(1, &[], 1), stage(2, &[1], 1)]);
    table.event(Event::WorkerDraining { worker: worker(0) });
    assert_eq!(table.ends(0, "q", 1, done()), ["launch q/2.0#2@w1"]);
    assert_eq!(table.lose(0), ["launch q/1.0#3@w2"]);
    table.event(joined(worker(3), 1));
    assert!(table.straggle("q", &[2]).is_empty());
    assert!(table.ends(2, "q", 3, done()).is_empty());
    assert_eq!(table.straggle("q", &[2]), ["launch q/2.0#4@w2"], "now it is there");
}

#[test]
fn no_second_attempt_makes_what_nobody_will_read() {
    let mut table = Table::new(&[1, 1]);
    table.submit("q", "a", vec![stage(1, &[], 1), stage(2, &[1], 1), stage(3, &[2], 1)]);
    table.event(Event::WorkerDraining { worker: worker(0) });
    assert_eq!(table.ends(0, "q", 1, done()), ["launch q/2.0#2@w1"]);
    table.event(joined(worker(2), 1));
    assert_eq!(table.lose(0), ["launch q/1.0#3@w2"]);
    table.event(joined(worker(3), 1));
    assert_eq!(table.ends(1, "q", 2, done()), ["launch q/3.0#4@w1"]);
    assert!(table.straggle("q", &[3]).is_empty(), "stage 2 has what it wanted of stage 1");
}

#[test]
fn an_attempt_that_runs_too_long_is_tried_elsewhere_before_its_end_is_reported() {
    let mut table = Table::new(&[1, 1]);
    table.submit("q", "a", vec![stage(1, &[], 1)]);
    assert_eq!(table.overdue("q", 1), ["cancel q/1.0#1@w0", "launch q/1.0#2@w1"]);
    assert_eq!(table.machine.workers().map(|worker| worker.used).collect::<Vec<_>>(), [1, 1], "it holds its core");
    assert!(table.overdue("q", 1).is_empty(), "it is told once");
    assert!(table.overdue("q", 9).is_empty());
    assert_eq!(table.ends(1, "q", 2, done()), ["finished q 1", "cancel q/1.0#1@w0"]);
    assert_eq!(table.lose(0), ["retired q"], "it never said anything");
}

#[test]
fn an_attempt_that_is_done_after_it_was_too_late_does_not_count() {
    let mut table = Table::new(&[1, 1]);
    table.submit("q", "a", vec![stage(1, &[], 1)]);
    table.overdue("q", 1);
    assert!(table.ends(0, "q", 1, done()).is_empty());
    assert_eq!(table.ends(1, "q", 2, done()), ["finished q 1", "retired q"]);
}

#[test]
fn of_two_attempts_the_one_that_runs_too_long_leaves_the_other() {
    let mut table = Table::new(&[1, 1, 1]);
    table.submit("q", "a", vec![stage(1, &[], 1)]);
    table.straggle("q", &[1]);
    assert_eq!(table.overdue("q", 1), ["cancel q/1.0#1@w0"]);
    assert_eq!(table.overdue("q", 2), ["cancel q/1.0#2@w1", "launch q/1.0#3@w2"]);
}

#[test]
fn a_task_that_always_runs_too_long_ends_the_query_with_all_that_one_must_know() {
    let mut table = Table::new(&[4]);
    table.submit("q", "a", vec![named_stage(3, &[], 1, "HashJoinExec, FilterExec")]);
    for attempt in 1..4 {
        assert_eq!(table.overdue("q", attempt).len(), 2);
        table.ends(0, "q", attempt, Outcome::Cancelled);
    }
    let (query, limit) = (query("q"), Duration::from_secs(90));
    let fault = table.fault(Event::AttemptOverdue { query, attempt: Attempt(4), limit });
    assert_eq!((fault.class, fault.code.as_str()), (ErrorClass::Resource, "task-timeout"));
    let expected = "task 0 of stage 3 (HashJoinExec, FilterExec) failed 4 times, the last time with: attempt 4 on \
                    worker w0 did not end within the task timeout of 90s: raise job.task_timeout";
    assert!(fault.message.starts_with(expected), "{fault}");
}

#[test]
fn a_query_that_kills_workers_ends_with_the_operators_that_they_ran() {
    let mut table = Table::new(&[2, 2, 2, 2]);
    let stages = vec![named_stage(1, &[], 4, "DeltaFilesScanExec"), named_stage(2, &[1], 4, "HashJoinExec, SortExec")];
    table.submit("q", "a", stages);
    table.lose(0);
    for number in 0..4 {
        for attempt in 1..20 {
            table.ends(number, "q", attempt, Outcome::Done { output: "rows", kept: Kept::InReport });
            if table.machine.stages(&query("q")).unwrap()[0].done == 4 {
                break;
            }
        }
    }
    table.lose(1);
    let fault = table.fault(Event::WorkerLost { worker: worker(2) });
    assert_eq!((fault.class, fault.code.as_str()), (ErrorClass::Resource, "worker-losses"));
    let expected = "2 of them ran stage 2 (HashJoinExec, SortExec), 1 of them ran stage 1 (DeltaFilesScanExec): look";
    assert!(fault.message.contains(expected), "{fault}");
}

#[test]
fn operators_are_not_blamed_for_workers_that_ran_none() {
    let mut table = Table::new(&[1]);
    table.submit("q", "a", vec![stage(1, &[], 1), stage(2, &[1], 1)]);
    table.event(Event::WorkerDraining { worker: worker(0) });
    table.event(joined(worker(1), 1));
    assert_eq!(table.ends(0, "q", 1, done()), ["launch q/2.0#2@w1"]);
    for number in [0, 2] {
        table.event(joined(worker(number.max(1) + 1), 1));
        let remade = u64::from(number.max(1)) + 2;
        assert_eq!(table.lose(number), [format!("launch q/1.0#{remade}@w{}", number.max(1) + 1)]);
        assert!(table.ends(number.max(1) + 1, "q", remade, done()).is_empty());
    }
    let fault = table.fault(Event::WorkerLost { worker: worker(3) });
    assert!(fault.message.contains("none of them ran a task of it"), "{fault}");
}

#[test]
fn a_task_that_wants_more_than_there_is_names_its_stage_and_one_with_a_wrong_job_does_not() {
    for (class, is_named) in [(ErrorClass::Resource, true), (ErrorClass::InvalidJob, false)] {
        let mut table = Table::new(&[1]);
        table.submit("q", "a", vec![named_stage(1, &[], 1, "AggregateExec")]);
        let outcome = Outcome::Failed(Fault::new(class, "some-code", "what happened"));
        let ended = Event::AttemptEnded { worker: worker(0), query: query("q"), attempt: Attempt(1), outcome };
        let fault = table.fault(ended);
        assert_eq!(fault.class, class);
        assert_eq!(fault.message.contains("stage 1 (AggregateExec)"), is_named, "{fault}");
    }
}
