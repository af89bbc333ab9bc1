//! One table row per move: situation, event, what must follow.

use std::time::Duration;

use lake_proto::{AppId, ErrorClass, Fault, QueryId, WorkerId};

use crate::*;

mod adoption;
mod attempts;

type Output = &'static str;

struct Table {
    machine: Queries<Output>,
    now: Duration,
    /// What the last event brought about, in short.
    log: Vec<String>,
}

fn worker(number: u32) -> WorkerId {
    format!("w{number}").parse().unwrap()
}

fn query(name: &str) -> QueryId {
    name.parse().unwrap()
}

fn app(name: &str) -> AppId {
    name.parse().unwrap()
}

fn stage(id: u32, inputs: &[u32], tasks: u32) -> StageDefinition {
    StageDefinition {
        id: StageId(id),
        inputs: inputs.iter().copied().map(StageId).collect(),
        tasks,
        cores: 1,
        is_repeatable: true,
        operators: String::new(),
    }
}

/// As [`stage`], with other rows from each attempt.
fn changeable(id: u32, inputs: &[u32], tasks: u32) -> StageDefinition {
    StageDefinition { is_repeatable: false, ..stage(id, inputs, tasks) }
}

fn joined(worker: WorkerId, cores: u32) -> Event<Output> {
    Event::WorkerJoined { worker, cores, is_draining: false }
}

fn transient() -> Outcome<Output> {
    Outcome::FailedTransiently(Fault::new(ErrorClass::Unavailable, "store", "store is away"))
}

fn done() -> Outcome<Output> {
    Outcome::Done { output: "rows", kept: Kept::OnWorker }
}

fn fetch_failed(producer: u32, holder: u32) -> Outcome<Output> {
    let fault = Fault::new(ErrorClass::Unavailable, "shuffle-fetch", "connection refused");
    Outcome::FetchFailed { producer: StageId(producer), holder: worker(holder), fault }
}

impl Table {
    fn new(workers: &[u32]) -> Self {
        let mut table = Self { machine: Queries::default(), now: Duration::ZERO, log: Vec::new() };
        for (number, cores) in workers.iter().enumerate() {
            table.event(joined(worker(u32::try_from(number).unwrap()), *cores));
        }
        table
    }

    fn event(&mut self, event: Event<Output>) -> &[String] {
        let actions = self.machine.on_event(self.now, event);
        self.machine.ledger.audit();
        self.log = actions.iter().map(describe).collect();
        &self.log
    }

    fn submit(&mut self, name: &str, application: &str, stages: Vec<StageDefinition>) -> &[String] {
        self.submit_capped(name, application, None, stages)
    }

    fn submit_capped(
        &mut self,
        name: &str,
        application: &str,
        cores_cap: Option<u32>,
        stages: Vec<StageDefinition>,
    ) -> &[String] {
        let definition = QueryDefinition { id: query(name), app: app(application), cores_cap, stages };
        self.event(Event::QuerySubmitted(definition))
    }

    fn ends(&mut self, on: u32, name: &str, attempt: u64, outcome: Outcome<Output>) -> &[String] {
        self.event(Event::AttemptEnded { worker: worker(on), query: query(name), attempt: Attempt(attempt), outcome })
    }

    /// Nothing happens until the moment that the machine waits for.
    fn wait(&mut self) -> &[String] {
        self.now = self.machine.due_at().unwrap();
        self.event(Event::TimePassed)
    }

    fn lose(&mut self, number: u32) -> &[String] {
        self.event(Event::WorkerLost { worker: worker(number) })
    }
}

/// `launch q/stage.task#attempt@worker` and so on.
fn describe(action: &Action<Output>) -> String {
    let name =
        |attempt: &AttemptRef| format!("{}/{}.{}#{}", attempt.query, attempt.stage, attempt.task, attempt.attempt);
    match action {
        Action::Launch(Launch { attempt, worker, cores: 1 }) => format!("launch {}@{worker}", name(attempt)),
        Action::Launch(Launch { attempt, worker, cores }) => format!("launch {}@{worker} x{cores}", name(attempt)),
        Action::Cancel { worker, attempt } => format!("cancel {}@{worker}", name(attempt)),
        Action::Adopted { query, outputs, attempts } => {
            let names = |attempts: &[AttemptRef]| {
                let names = attempts.iter().map(|held| format!("{}.{}#{}", held.stage, held.task, held.attempt));
                names.collect::<Vec<_>>().join(" ")
            };
            format!("adopted {query} done [{}] running [{}]", names(outputs), names(attempts))
        }
        Action::Ended { query, end: QueryEnd::Finished(pieces) } => format!("finished {query} {}", pieces.len()),
        Action::Ended { query, end: QueryEnd::Failed(fault) } => format!("failed {query} {}", fault.code),
        Action::Retired { query } => format!("retired {query}"),
        Action::Refused { query, fault } => format!("refused {query} {}", fault.code),
    }
}

#[test]
fn a_stage_starts_when_its_input_is_complete_and_the_query_ends_with_its_result() {
    let mut table = Table::new(&[1, 1]);
    assert_eq!(
        table.submit("q", "a", vec![stage(1, &[], 2), stage(2, &[1], 1)]),
        ["launch q/1.0#1@w0", "launch q/1.1#2@w1"]
    );
    assert!(table.ends(0, "q", 1, done()).is_empty());
    assert!(table.machine.inputs(&query("q"), StageId(1)).is_none(), "an incomplete stage is not readable");
    assert_eq!(table.ends(1, "q", 2, done()), ["launch q/2.0#3@w0"]);
    let inputs = table.machine.inputs(&query("q"), StageId(1)).unwrap();
    let inputs: Vec<_> = inputs.iter().map(|input| (input.task.0, input.attempt.0, input.worker.as_str())).collect();
    assert_eq!(inputs, [(0, 1, "w0"), (1, 2, "w1")]);
    assert_eq!(table.ends(0, "q", 3, done()), ["finished q 1", "retired q"]);
    assert!(!table.machine.has_queries());
}

#[test]
fn late_repeated_and_foreign_reports_change_nothing() {
    let mut table = Table::new(&[1, 1]);
    table.submit("q", "a", vec![stage(1, &[], 1), stage(2, &[1], 1)]);
    for (on, name, attempt) in [(1, "q", 1), (0, "q", 7), (0, "other", 1), (9, "q", 1)] {
        assert!(table.ends(on, name, attempt, done()).is_empty(), "report of {name} {attempt} from w{on}");
    }
    assert_eq!(table.ends(0, "q", 1, done()), ["launch q/2.0#2@w0"]);
    assert!(table.ends(0, "q", 1, done()).is_empty());
    assert!(table.ends(0, "q", 1, transient()).is_empty());
    assert!(table.ends(0, "q", 1, Outcome::Cancelled).is_empty());
    assert_eq!(table.machine.inputs(&query("q"), StageId(1)).unwrap().len(), 1);
}

#[test]
fn a_user_error_ends_the_query_at_once_and_the_rest_is_cancelled() {
    let mut table = Table::new(&[1, 1]);
    table.submit("q", "a", vec![stage(1, &[], 2), stage(2, &[1], 1)]);
    let fault = Fault::new(ErrorClass::InvalidJob, "sql-runtime", "cannot cast");
    assert_eq!(table.ends(0, "q", 1, Outcome::Failed(fault)), ["failed q sql-runtime", "cancel q/1.1#2@w1"]);
    assert!(table.machine.has_queries(), "its cores are still booked");
    assert_eq!(table.ends(1, "q", 2, Outcome::Cancelled), ["retired q"]);
}

#[test]
fn a_transient_failure_is_tried_four_times_on_another_worker_where_there_is_one() {
    let mut table = Table::new(&[1, 1]);
    table.submit("q", "a", vec![stage(1, &[], 1)]);
    assert_eq!(table.ends(0, "q", 1, transient()), ["launch q/1.0#2@w1"]);
    assert!(table.ends(1, "q", 2, transient()).is_empty());
    assert_eq!(table.wait(), ["launch q/1.0#3@w0"], "none is left, so any will do");
    assert!(table.ends(0, "q", 3, transient()).is_empty());
    assert_eq!(table.wait(), ["launch q/1.0#4@w0"]);
    assert_eq!(table.ends(0, "q", 4, transient()), ["failed q store", "retired q"]);
}

#[test]
fn a_task_waits_longer_for_each_attempt_after_the_second_and_holds_up_nothing_meanwhile() {
    let mut table = Table::new(&[1]);
    table.submit("q", "a", vec![stage(1, &[], 2)]);
    table.submit("r", "b", vec![stage(1, &[], 1)]);
    assert_eq!(table.ends(0, "q", 1, transient()), ["launch q/1.0#2@w0"], "the second one comes at once");
    assert_eq!(table.ends(0, "q", 2, transient()), ["launch q/1.1#3@w0"], "the next task does not wait for it");
    assert_eq!(table.ends(0, "q", 3, done()), ["launch r/1.0#1@w0"], "nor does the next query");
    assert_eq!(table.ends(0, "r", 1, done()), ["finished r 1", "retired r"]);

    assert_eq!(table.machine.due_at(), Some(TASK_PAUSE));
    table.now = TASK_PAUSE - Duration::from_millis(1);
    assert!(table.event(Event::TimePassed).is_empty());
    assert_eq!(table.wait(), ["launch q/1.0#4@w0"]);
    assert!(table.ends(0, "q", 4, transient()).is_empty());
    assert_eq!(table.machine.due_at(), Some(TASK_PAUSE + TASK_PAUSE * 2));
    table.now = Duration::ZERO;
    assert!(table.event(Event::TimePassed).is_empty(), "a clock that steps back changes nothing");
    assert_eq!(table.wait(), ["launch q/1.0#5@w0"]);
    assert_eq!(table.ends(0, "q", 5, done()), ["finished q 2", "retired q"]);
    assert_eq!(table.machine.due_at(), None);
}

#[test]
fn a_task_waits_for_what_is_away_and_for_nothing_else() {
    let memory = || Outcome::FailedTransiently(Fault::new(ErrorClass::Resource, "memory", "the pool is used up"));
    let mut table = Table::new(&[1]);
    table.submit("q", "a", vec![stage(1, &[], 1)]);
    table.ends(0, "q", 1, memory());
    assert_eq!(table.ends(0, "q", 2, memory()), ["launch q/1.0#3@w0"]);
    assert!(table.ends(0, "q", 3, transient()).is_empty());
    assert_eq!(table.wait(), ["launch q/1.0#4@w0"]);
}

#[test]
fn a_failed_task_waits_for_the_other_worker() {
    let mut table = Table::new(&[1, 1]);
    table.submit("q", "a", vec![stage(1, &[], 1)]);
    table.submit("r", "b", vec![stage(1, &[], 1)]);
    assert!(table.ends(0, "q", 1, transient()).is_empty(), "w1 is busy");
    assert_eq!(table.ends(1, "r", 1, done()), ["finished r 1", "retired r", "launch q/1.0#2@w1"]);
}

#[test]
fn a_lost_worker_gives_back_what_it_ran_and_what_is_still_needed() {
    let mut table = Table::new(&[2, 2]);
    table.submit("q", "a", vec![stage(1, &[], 2), stage(2, &[1], 2)]);
    table.ends(0, "q", 1, done());
    assert_eq!(table.ends(1, "q", 2, done()), ["launch q/2.0#3@w0", "launch q/2.1#4@w1"]);
    // w0 held 1.0 and ran 2.0: 1.0 is made again first, 2.0 waits for it, 2.1 goes on with what it has.
    assert_eq!(table.lose(0), ["launch q/1.0#5@w1"]);
    assert!(table.machine.inputs(&query("q"), StageId(1)).is_none());
    assert!(table.ends(1, "q", 4, done()).is_empty());
    assert_eq!(table.ends(1, "q", 5, done()), ["launch q/2.0#6@w1"]);
    assert!(table.ends(0, "q", 3, done()).is_empty(), "a report of the lost worker comes late");
    assert_eq!(table.ends(1, "q", 6, done()), ["finished q 2", "retired q"]);
}

#[test]
fn what_nobody_reads_any_more_is_not_made_again() {
    let mut table = Table::new(&[1, 1]);
    table.submit("q", "a", vec![stage(1, &[], 1), stage(2, &[1], 1), stage(3, &[2], 1)]);
    table.event(Event::WorkerDraining { worker: worker(0) });
    assert_eq!(table.ends(0, "q", 1, done()), ["launch q/2.0#2@w1"]);
    assert_eq!(table.ends(1, "q", 2, done()), ["launch q/3.0#3@w1"]);
    assert!(table.lose(0).is_empty());
    // The next loss needs it again, from the beginning.
    table.event(joined(worker(2), 1));
    assert_eq!(table.lose(1), ["launch q/1.0#4@w2"]);
    assert_eq!(table.ends(2, "q", 4, done()), ["launch q/2.0#5@w2"]);
}

#[test]
fn a_result_inside_its_report_survives_the_worker() {
    let mut table = Table::new(&[1, 1]);
    table.submit("q", "a", vec![stage(1, &[], 2)]);
    table.ends(0, "q", 1, Outcome::Done { output: "rows", kept: Kept::InReport });
    assert!(table.lose(0).is_empty());
    assert_eq!(table.ends(1, "q", 2, done()), ["finished q 2", "retired q"]);
}

#[test]
fn the_third_lost_worker_ends_the_query() {
    let mut table = Table::new(&[1]);
    table.submit("q", "a", vec![stage(1, &[], 1)]);
    for number in 1..=2 {
        table.event(joined(worker(number), 1));
        assert_eq!(table.lose(number - 1), [format!("launch q/1.0#{}@w{number}", number + 1)]);
    }
    assert_eq!(table.lose(2), ["failed q worker-losses", "retired q"]);
}

#[test]
fn losing_workers_that_a_query_does_not_need_costs_it_nothing() {
    let mut table = Table::new(&[1, 1]);
    table.submit("q", "a", vec![stage(1, &[], 1)]);
    for number in 2..8 {
        table.event(joined(worker(number), 1));
        assert!(table.lose(number).is_empty());
    }
    assert_eq!(table.ends(0, "q", 1, done()), ["finished q 1", "retired q"]);
}

#[test]
fn a_fetch_failure_gives_up_all_outputs_of_that_stage_on_that_worker() {
    let mut table = Table::new(&[2, 2]);
    table.submit("q", "a", vec![stage(1, &[], 3), stage(2, &[1], 1)]);
    table.ends(0, "q", 1, done());
    table.ends(1, "q", 2, done());
    assert_eq!(table.ends(0, "q", 3, done()), ["launch q/2.0#4@w0"]);
    assert_eq!(table.ends(0, "q", 4, fetch_failed(1, 0)), ["launch q/1.0#5@w1", "launch q/1.2#6@w1"]);
    table.ends(1, "q", 5, done());
    assert_eq!(table.ends(1, "q", 6, done()), ["launch q/2.0#7@w0"]);
    assert_eq!(table.ends(0, "q", 7, done()), ["finished q 1", "retired q"]);
}

#[test]
fn a_fetch_failure_says_nothing_about_outputs_that_are_newer_than_its_reader() {
    let mut table = Table::new(&[2]);
    table.submit("q", "a", vec![stage(1, &[], 1), stage(2, &[1], 2)]);
    assert_eq!(table.ends(0, "q", 1, done()), ["launch q/2.0#2@w0", "launch q/2.1#3@w0"]);
    assert_eq!(table.ends(0, "q", 2, fetch_failed(1, 0)), ["launch q/1.0#4@w0"]);
    assert_eq!(table.ends(0, "q", 4, done()), ["launch q/2.0#5@w0"]);
    assert_eq!(table.ends(0, "q", 3, fetch_failed(1, 0)), ["launch q/2.1#6@w0"], "only the old output was unreadable");
}

#[test]
fn outputs_that_stay_unreadable_end_the_query() {
    for producer in [stage(1, &[], 1), changeable(1, &[], 1)] {
        let mut table = Table::new(&[1]);
        table.submit("q", "a", vec![producer, stage(2, &[1], 1)]);
        let mut attempt = 1;
        for _ in 0..MAX_OUTPUT_LOSSES {
            table.ends(0, "q", attempt, done());
            assert_eq!(table.ends(0, "q", attempt + 1, fetch_failed(1, 0)).len(), 1);
            attempt += 2;
        }
        table.ends(0, "q", attempt, done());
        assert_eq!(table.ends(0, "q", attempt + 1, fetch_failed(1, 0)), ["failed q shuffle-fetch", "retired q"]);
    }
}

#[test]
fn a_fetch_failure_of_something_that_is_not_read_is_the_readers_own() {
    let mut table = Table::new(&[1]);
    table.submit("q", "a", vec![stage(1, &[], 1)]);
    assert_eq!(table.ends(0, "q", 1, fetch_failed(9, 0)), ["launch q/1.0#2@w0"]);
    for attempt in 2..4 {
        assert!(table.ends(0, "q", attempt, fetch_failed(9, 0)).is_empty());
        assert_eq!(table.wait(), [format!("launch q/1.0#{}@w0", attempt + 1)]);
    }
    assert_eq!(table.ends(0, "q", 4, fetch_failed(9, 0)), ["failed q shuffle-fetch", "retired q"]);
}

#[test]
fn queries_are_served_by_application_and_then_in_order() {
    let mut table = Table::new(&[1]);
    table.submit("a1", "a", vec![stage(1, &[], 1)]);
    table.submit("b1", "b", vec![stage(1, &[], 1)]);
    table.submit("a2", "a", vec![stage(1, &[], 1)]);
    assert_eq!(table.ends(0, "a1", 1, done()), ["finished a1 1", "retired a1", "launch a2/1.0#1@w0"]);
    assert_eq!(table.ends(0, "a2", 1, done()), ["finished a2 1", "retired a2", "launch b1/1.0#1@w0"]);
    table.submit("a3", "a", vec![stage(1, &[], 1)]);
    table.submit("b2", "b", vec![stage(1, &[], 1)]);
    assert_eq!(table.ends(0, "b1", 1, done())[2], "launch a3/1.0#1@w0", "an application keeps its place");
}

#[test]
fn an_application_uses_no_more_cores_than_its_cap() {
    let mut table = Table::new(&[4]);
    assert_eq!(table.submit_capped("q", "a", Some(2), vec![stage(1, &[], 4)]).len(), 2);
    assert_eq!(table.submit_capped("r", "a", Some(2), vec![stage(1, &[], 4)]).len(), 0);
    assert_eq!(table.submit("s", "b", vec![stage(1, &[], 4)]).len(), 2);
    assert_eq!(table.ends(0, "q", 1, done()), ["launch q/1.2#3@w0"]);
}

#[test]
fn a_task_of_many_cores_gets_at_most_the_largest_worker_and_is_not_starved() {
    let mut table = Table::new(&[2, 1]);
    let whole = || vec![StageDefinition { cores: 8, ..stage(1, &[], 1) }];
    assert_eq!(table.submit("s", "a", vec![stage(1, &[], 1)]), ["launch s/1.0#1@w0"]);
    assert!(table.submit("q", "a", whole()).is_empty());
    assert_eq!(table.submit("r", "b", vec![stage(1, &[], 3)]), ["launch r/1.0#1@w1"], "w0 is reserved");
    assert_eq!(table.ends(0, "s", 1, done()), ["finished s 1", "retired s", "launch q/1.0#1@w0 x2"]);
    assert_eq!(table.ends(0, "q", 1, done())[2..], ["launch r/1.1#2@w0", "launch r/1.2#3@w0"]);
}

#[test]
fn a_draining_worker_gets_nothing_new_and_keeps_what_it_has() {
    let mut table = Table::new(&[1, 1]);
    table.submit("q", "a", vec![stage(1, &[], 2), stage(2, &[1], 2)]);
    table.event(Event::WorkerDraining { worker: worker(0) });
    table.ends(0, "q", 1, done());
    assert_eq!(table.ends(1, "q", 2, done()), ["launch q/2.0#3@w1"]);
    assert!(table.event(joined(worker(0), 1)).is_empty(), "an attach does not revive it");
    let drains = Event::WorkerJoined { worker: worker(2), cores: 1, is_draining: true };
    assert!(table.event(drains).is_empty(), "one that drains from the beginning gets nothing either");
}

#[test]
fn a_worker_is_needed_while_it_runs_something_or_holds_what_is_still_to_be_read() {
    let mut table = Table::new(&[1, 1, 1]);
    let needed = |table: &Table| [0, 1, 2].map(|number| table.machine.is_needed(&worker(number)));
    assert_eq!(needed(&table), [false; 3]);
    table.submit("q", "a", vec![stage(1, &[], 2), stage(2, &[1], 1), stage(3, &[2], 1)]);
    assert_eq!(needed(&table), [true, true, false], "both run");
    table.event(Event::WorkerDraining { worker: worker(0) });
    table.event(Event::WorkerDraining { worker: worker(1) });
    table.ends(0, "q", 1, done());
    assert_eq!(needed(&table), [true, true, false], "w0 has rows that stage 2 will read");
    assert_eq!(table.ends(1, "q", 2, done()), ["launch q/2.0#3@w2"]);
    assert_eq!(needed(&table), [true, true, true], "their readers run");
    assert_eq!(table.ends(2, "q", 3, transient()), ["launch q/2.0#4@w2"]);
    assert_eq!(needed(&table), [true, true, true], "the next attempt reads it once more");
    assert_eq!(table.ends(2, "q", 4, done()), ["launch q/3.0#5@w2"]);
    assert_eq!(needed(&table), [false, false, true], "what they hold has been read");
    assert!(table.lose(0).is_empty());
    assert_eq!(table.ends(2, "q", 5, done()), ["finished q 1", "retired q"]);
    assert_eq!(needed(&table), [false; 3]);
}

#[test]
fn results_are_needed_until_the_query_ends_and_cancelled_attempts_until_they_have() {
    let mut table = Table::new(&[1, 1]);
    table.submit("q", "a", vec![stage(1, &[], 2)]);
    table.ends(0, "q", 1, Outcome::Done { output: "rows", kept: Kept::InReport });
    assert!(!table.machine.is_needed(&worker(0)), "the rows are in its report");
    table.submit("r", "b", vec![stage(1, &[], 2)]);
    table.event(Event::WorkerDraining { worker: worker(0) });
    table.ends(0, "r", 1, done());
    assert!(table.machine.is_needed(&worker(0)), "it has a part of the result");
    table.event(Event::QueryCancelled { query: query("r") });
    assert!(!table.machine.is_needed(&worker(0)));
    table.event(Event::QueryCancelled { query: query("q") });
    assert!(table.machine.is_needed(&worker(1)), "its attempt is still to end");
    table.ends(1, "q", 2, Outcome::Cancelled);
    assert!(!table.machine.is_needed(&worker(1)));
}

#[test]
fn a_cancelled_query_leaves_when_its_attempts_have_ended_or_are_lost() {
    let mut table = Table::new(&[1, 1]);
    table.submit("q", "a", vec![stage(1, &[], 3)]);
    let cancelled = ["failed q query-cancelled", "cancel q/1.0#1@w0", "cancel q/1.1#2@w1"];
    assert_eq!(table.event(Event::QueryCancelled { query: query("q") }), cancelled);
    assert!(table.event(Event::QueryCancelled { query: query("q") }).is_empty());
    assert!(table.ends(0, "q", 1, done()).is_empty());
    assert_eq!(table.lose(1), ["retired q"]);
}

#[test]
fn an_ended_application_is_forgotten_with_its_queries() {
    let mut table = Table::new(&[1]);
    table.submit("q", "a", vec![stage(1, &[], 1)]);
    table.submit("r", "a", vec![stage(1, &[], 1)]);
    table.submit("s", "b", vec![stage(1, &[], 1)]);
    let expected = ["failed q query-cancelled", "cancel q/1.0#1@w0", "failed r query-cancelled", "retired r"];
    assert_eq!(table.event(Event::ApplicationEnded { app: app("a") }), expected);
    assert_eq!(table.ends(0, "q", 1, Outcome::Cancelled), ["retired q", "launch s/1.0#1@w0"]);
}

#[test]
fn without_workers_queries_wait_until_the_edge_has_waited_long_enough() {
    let mut table = Table::new(&[]);
    assert!(table.submit("q", "a", vec![stage(1, &[], 1)]).is_empty());
    assert_eq!(table.event(joined(worker(0), 1)), ["launch q/1.0#1@w0"]);
    table.submit("r", "a", vec![stage(1, &[], 1)]);
    let in_vain = |name| Event::WorkersAwaitedInVain { query: query(name) };
    assert!(table.event(in_vain("r")).is_empty(), "there is a worker");
    table.event(Event::WorkerDraining { worker: worker(0) });
    assert!(table.event(in_vain("q")).is_empty(), "its attempt runs on");
    assert_eq!(table.event(in_vain("r")), ["failed r no-workers", "retired r"]);
    assert_eq!(table.ends(0, "q", 1, done()), ["finished q 1", "retired q"]);
}

#[test]
fn an_attempt_that_its_worker_cancels_is_tried_again() {
    let mut table = Table::new(&[1, 1]);
    table.submit("q", "a", vec![stage(1, &[], 1)]);
    assert_eq!(table.ends(0, "q", 1, Outcome::Cancelled), ["launch q/1.0#2@w1"]);
}

#[test]
fn graphs_that_are_none_and_ids_in_use_are_refused() {
    let mut table = Table::new(&[1]);
    for (what, stages) in [
        ("no stage", vec![]),
        ("no task", vec![stage(1, &[], 0)]),
        ("input after it", vec![stage(1, &[2], 1), stage(2, &[], 1)]),
        ("itself", vec![stage(1, &[1], 1)]),
        ("twice", vec![stage(1, &[], 1), stage(1, &[], 1)]),
        ("result not greatest", vec![stage(2, &[], 1), stage(1, &[], 1)]),
    ] {
        assert_eq!(table.submit("q", "a", stages), ["refused q stage-graph"], "{what}");
    }
    table.submit("q", "a", vec![stage(1, &[], 1)]);
    assert_eq!(table.submit("q", "a", vec![stage(1, &[], 1)]), ["refused q query-id"]);
}

#[test]
fn a_lost_output_that_would_come_out_differently_takes_back_what_has_read_it() {
    let mut table = Table::new(&[2, 2]);
    table.submit("q", "a", vec![changeable(1, &[], 2), stage(2, &[1], 3)]);
    table.ends(0, "q", 1, done());
    let launched = ["launch q/2.0#3@w0", "launch q/2.1#4@w1", "launch q/2.2#5@w0"];
    assert_eq!(table.ends(1, "q", 2, done()), launched);
    table.ends(1, "q", 4, Outcome::Done { output: "rows", kept: Kept::InReport });
    // w1 held 1.1: what runs has read it, and 2.1 is done with it, although its own rows are safe.
    let taken_back = ["cancel q/2.0#3@w0", "cancel q/2.2#5@w0"];
    assert_eq!(table.lose(1), taken_back, "their cores are not free yet");
    assert_eq!(table.machine.stages(&query("q")).unwrap()[1].done, 0);
    assert_eq!(table.ends(0, "q", 3, Outcome::Cancelled), ["launch q/1.1#6@w0"]);
    assert!(table.ends(0, "q", 5, done()).is_empty(), "it was too late to be cancelled and counts as little");
    assert_eq!(table.ends(0, "q", 6, done()), ["launch q/2.0#7@w0", "launch q/2.1#8@w0"]);
    table.ends(0, "q", 7, done());
    table.ends(0, "q", 8, done());
    assert_eq!(table.ends(0, "q", 9, done()), ["finished q 3", "retired q"]);
}

#[test]
fn an_unreadable_output_that_would_come_out_differently_takes_back_its_other_readers() {
    let mut table = Table::new(&[2, 2]);
    table.submit("q", "a", vec![changeable(1, &[], 2), stage(2, &[1], 3)]);
    table.ends(0, "q", 1, done());
    table.ends(1, "q", 2, done());
    table.ends(1, "q", 4, done());
    let moves = ["cancel q/2.0#3@w0", "launch q/1.1#6@w0"];
    assert_eq!(table.ends(0, "q", 5, fetch_failed(1, 1)), moves, "w1 lost its file of 1.1, 2.1 had read it");
    assert!(table.ends(0, "q", 3, fetch_failed(1, 1)).is_empty(), "the other reader finds the same");
    assert_eq!(
        table.ends(0, "q", 6, done()),
        ["launch q/2.0#7@w0", "launch q/2.1#8@w1", "launch q/2.2#9@w0"],
        "the readers of the first output are all run again"
    );
}

#[test]
fn what_is_further_down_is_taken_back_too_and_what_reads_something_else_is_not() {
    let mut table = Table::new(&[1, 4]);
    let stages = vec![changeable(1, &[], 1), stage(2, &[], 1), stage(3, &[1], 1), stage(4, &[2], 1)];
    let stages = [stages, vec![stage(5, &[1, 3, 4], 2)]].concat();
    assert_eq!(table.submit("q", "a", stages), ["launch q/1.0#1@w1", "launch q/2.0#2@w1"]);
    table.event(Event::WorkerDraining { worker: worker(0) });
    table.ends(1, "q", 1, done());
    table.ends(1, "q", 2, done());
    table.ends(1, "q", 3, done());
    assert_eq!(table.ends(1, "q", 4, done()), ["launch q/5.0#5@w1", "launch q/5.1#6@w1"]);
    let moves = ["cancel q/5.1#6@w1", "launch q/1.0#7@w1"];
    // Holds for every output of that stage on the worker, and there is only one.
    assert_eq!(table.ends(1, "q", 5, fetch_failed(1, 1)), moves);
    let done_tasks: Vec<u32> = table.machine.stages(&query("q")).unwrap().iter().map(|stage| stage.done).collect();
    assert_eq!(done_tasks, [0, 1, 0, 1, 0]);
    assert_eq!(table.ends(1, "q", 7, done()), ["launch q/3.0#8@w1"]);
}

#[test]
fn a_lost_output_that_nobody_reads_takes_nothing_back_until_it_is_wanted_again() {
    let mut table = Table::new(&[1]);
    table.submit("q", "a", vec![changeable(1, &[], 1), stage(2, &[1], 2), stage(3, &[2], 1)]);
    table.event(Event::WorkerJoined { worker: worker(1), cores: 1, is_draining: false });
    table.event(Event::WorkerJoined { worker: worker(2), cores: 1, is_draining: false });
    table.event(Event::WorkerDraining { worker: worker(0) });
    assert_eq!(table.ends(0, "q", 1, done()), ["launch q/2.0#2@w1", "launch q/2.1#3@w2"]);
    table.ends(1, "q", 2, done());
    assert_eq!(table.ends(2, "q", 3, done()), ["launch q/3.0#4@w1"]);
    assert!(table.lose(0).is_empty(), "2.0 and 2.1 have read the same 1.0, which is not made again");
    table.event(Event::WorkerJoined { worker: worker(3), cores: 1, is_draining: false });
    // 2.1 must be made again and wants 1.0, which comes out differently: 2.0 and what has read it go with it.
    assert_eq!(table.lose(2), ["cancel q/3.0#4@w1", "launch q/1.0#5@w3"]);
    assert_eq!(table.ends(3, "q", 5, done()), ["launch q/2.0#6@w3"]);
    assert_eq!(table.ends(1, "q", 4, Outcome::Cancelled), ["launch q/2.1#7@w1"]);
    table.ends(3, "q", 6, done());
    assert_eq!(table.ends(1, "q", 7, done()), ["launch q/3.0#8@w1"]);
    assert_eq!(table.ends(1, "q", 8, done()), ["finished q 1", "retired q"]);
}

#[test]
fn however_a_superseded_attempt_ends_it_counts_for_nothing() {
    let mut table = Table::new(&[8]);
    table.submit("q", "a", vec![changeable(1, &[], 1), stage(2, &[1], 5)]);
    assert_eq!(table.ends(0, "q", 1, done()).len(), 5);
    let moves = table.ends(0, "q", 2, fetch_failed(1, 0)).to_vec();
    assert_eq!(moves[0], "cancel q/2.1#3@w0");
    assert_eq!(moves[4], "launch q/1.0#7@w0");
    let fault = Fault::new(ErrorClass::InvalidJob, "sql-runtime", "cannot cast");
    let ends = [transient(), Outcome::Failed(fault), fetch_failed(1, 0), Outcome::Cancelled];
    for (attempt, outcome) in (3..).zip(ends) {
        assert!(!table.machine.awaits(&query("q"), Attempt(attempt)));
        assert!(table.ends(0, "q", attempt, outcome).is_empty(), "attempt {attempt}");
    }
    assert_eq!(table.ends(0, "q", 7, done()).len(), 5);
    // Task 2.1 may still fail as often as any other.
    assert_eq!(table.ends(0, "q", 9, transient()).len(), 1);
    for attempt in [13, 14] {
        assert!(table.ends(0, "q", attempt, transient()).is_empty());
        assert_eq!(table.wait().len(), 1);
    }
    assert_eq!(table.ends(0, "q", 15, transient())[0], "failed q store");
}

#[test]
fn a_superseded_producer_is_cancelled_when_the_query_finishes_without_it() {
    let mut table = Table::new(&[1, 1]);
    table.submit("q", "a", vec![stage(1, &[], 1), stage(2, &[1], 1)]);
    table.event(joined(worker(2), 1));
    table.event(Event::WorkerDraining { worker: worker(0) });
    assert_eq!(table.ends(0, "q", 1, done()), ["launch q/2.0#2@w1"]);
    assert_eq!(table.lose(0), ["launch q/1.0#3@w2"]);
    assert_eq!(table.ends(1, "q", 2, done()), ["finished q 1", "cancel q/1.0#3@w2"]);
    assert_eq!(table.ends(2, "q", 3, done()), ["retired q"]);
}
