//! Progress as a tree that is redrawn in place: steps, and the stages of those that run. Edge.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use lake_proto::v1::{ApplicationStatus, StepProgress};
use lake_proto::{quantity, visible};

use super::{View, text};
use crate::order::Order;
use crate::report::relaunch;

const TICK: Duration = Duration::from_millis(120);
const GREEN: &str = "32";
const RED: &str = "31";
const YELLOW: &str = "33";
const DIM: &str = "2";

pub(super) struct Tree {
    coloured: bool,
    bars: MultiProgress,
    header: Option<ProgressBar>,
    /// What was said last of an attempt that ended.
    relaunch: Option<String>,
    order: Order,
    steps: BTreeMap<String, Branch>,
    /// Width of the longest table name so far.
    width: usize,
}

struct Branch {
    bar: ProgressBar,
    stages: BTreeMap<u32, ProgressBar>,
    running_since: Option<Instant>,
    /// The state in which the step has ended.
    outcome: Option<String>,
}

impl Tree {
    pub(super) fn new(coloured: bool, order: Order) -> Self {
        let bars = MultiProgress::new();
        Self { coloured, bars, header: None, relaunch: None, order, steps: BTreeMap::new(), width: 0 }
    }

    fn paint(&self, colour: &str, text: &str) -> String {
        if self.coloured { format!("\u{1b}[{colour}m{text}\u{1b}[0m") } else { text.to_owned() }
    }

    fn step(&mut self, step: &StepProgress) {
        let width = self.width;
        let branch = self.steps.entry(step.table.clone()).or_insert_with(|| Branch {
            bar: self.bars.add(ProgressBar::new_spinner()),
            stages: BTreeMap::new(),
            running_since: None,
            outcome: None,
        });
        if branch.outcome.as_deref().is_some_and(|outcome| text::is_recorded(outcome) || outcome == step.state) {
            return;
        }
        if branch.outcome.take().is_some() {
            // It has failed, and the driver was launched again.
            branch.bar.reset();
        }
        let name = format!("{:width$}", step.table);
        if text::has_ended(&step.state) {
            branch.rest();
            branch.outcome = Some(step.state.clone());
            let (mark, colour) = match step.state.as_str() {
                "FAILED" => ("✗", RED),
                "SKIPPED" | "KILLED" | "NOT_RUN" | "FENCED" | "UNKNOWN" => ("–", YELLOW),
                _ => ("✓", GREEN),
            };
            let bar = branch.bar.clone();
            bar.set_style(style("  {msg}"));
            let mut words = text::step(step);
            if step.state == "FAILED" {
                words = self.paint(RED, &format!("{words}\n      next: {}", text::next(step)));
            }
            bar.finish_with_message(format!("{} {name}  {words}", self.paint(colour, mark)));
            return;
        }
        if step.state == "PENDING" {
            branch.rest();
            branch.bar.set_style(style("  · {msg}"));
            let bar = branch.bar.clone();
            bar.set_message(self.paint(DIM, &format!("{name}  waiting")));
            return;
        }
        branch.run(&self.bars, step, &name);
    }
}

impl Branch {
    fn run(&mut self, bars: &MultiProgress, step: &StepProgress, name: &str) {
        if self.running_since.is_none() {
            self.running_since = Some(Instant::now());
            self.bar.set_style(style("  {spinner} {msg}  {elapsed}"));
            self.bar.reset_elapsed();
            self.bar.enable_steady_tick(TICK);
        }
        self.bar.set_message(format!("{name}  {}", text::step(step)));
        let mut above = self.bar.clone();
        for stage in &step.stages {
            let bar = self.stages.entry(stage.stage_id).or_insert_with(|| {
                let bar = bars.insert_after(&above, ProgressBar::new(u64::from(stage.tasks_total)));
                bar.set_style(style("      {bar:20} {msg}"));
                bar
            });
            bar.set_length(u64::from(stage.tasks_total));
            bar.set_position(u64::from(stage.tasks_done));
            bar.set_message(text::stage(stage));
            above = bar.clone();
        }
    }

    /// Nothing of it runs.
    fn rest(&mut self) {
        self.running_since = None;
        for bar in std::mem::take(&mut self.stages).into_values() {
            bar.finish_and_clear();
        }
        self.bar.disable_steady_tick();
    }
}

impl View for Tree {
    fn note(&mut self, text: &str) {
        // Nobody looks any more when this fails; the job goes on.
        let _ = self.bars.println(visible::lines(text));
    }

    fn application(&mut self, status: &ApplicationStatus) {
        let relaunch = relaunch(status);
        if let Some(words) = relaunch.as_ref().filter(|_| self.relaunch != relaunch) {
            self.note(words);
            self.relaunch.clone_from(&relaunch);
        }
        let mut words = format!("{}  {}  {}", visible::one_line(&status.name), status.driver_id, status.state);
        if !status.worker_id.is_empty() {
            words.push_str(&format!("  driver on {}", status.worker_id));
        }
        if status.attempt > 1 {
            words.push_str(&format!("  attempt {}", status.attempt));
        }
        if !status.waits_for.is_empty() {
            words.push_str(&format!("  waits for {}", status.waits_for));
        }
        let bars = &self.bars;
        let header = self.header.get_or_insert_with(|| {
            let bar = bars.insert(0, ProgressBar::new_spinner());
            bar.set_style(style("{msg}"));
            bar
        });
        header.set_message(words);
    }

    fn steps(&mut self, steps: &[StepProgress]) {
        if self.steps.is_empty() && !steps.is_empty() {
            // All at once, because later ones are added below.
            let tables: Vec<String> = self.order.tables().into_iter().map(str::to_owned).collect();
            self.width = tables.iter().map(|table| table.chars().count()).max().unwrap_or(0);
            for table in tables {
                self.step(&StepProgress { table, state: "PENDING".to_owned(), ..StepProgress::default() });
            }
        }
        let longest = steps.iter().map(|step| step.table.chars().count()).max().unwrap_or(0);
        self.width = self.width.max(longest);
        for step in self.order.sorted(steps, |step| &step.table) {
            self.step(step);
        }
    }

    fn close(&mut self, name: &str, state: &str, duration: Duration) {
        for branch in self.steps.values_mut().filter(|branch| branch.outcome.is_none()) {
            branch.rest();
            branch.bar.abandon();
        }
        if let Some(header) = self.header.take() {
            header.finish_and_clear();
        }
        let colour = if state == "FINISHED" { GREEN } else { RED };
        let words =
            format!("{} {} in {}", visible::one_line(name), self.paint(colour, state), quantity::duration(duration));
        let last = self.bars.add(ProgressBar::new_spinner());
        last.set_style(style("{msg}"));
        last.finish_with_message(words);
    }
}

fn style(template: &str) -> ProgressStyle {
    // The templates are constants of this file; a test proves each of them.
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_spinner())
}

#[cfg(test)]
mod tests {
    use indicatif::{InMemoryTerm, ProgressDrawTarget};
    use lake_proto::v1::{StageProgress, StepRecord};
    use lake_proto::{ErrorClass, Fault};

    use super::*;

    fn tree(terminal: &InMemoryTerm, order: Order) -> Tree {
        let target = ProgressDrawTarget::term_like(Box::new(terminal.clone()));
        Tree { bars: MultiProgress::with_draw_target(target), ..Tree::new(false, order) }
    }

    fn step(table: &str, state: &str) -> StepProgress {
        StepProgress { table: table.into(), state: state.into(), ..StepProgress::default() }
    }

    #[test]
    fn every_template_is_valid() {
        for template in ["  {msg}", "  · {msg}", "  {spinner} {msg}  {elapsed}", "      {bar:20} {msg}", "{msg}"] {
            assert!(ProgressStyle::with_template(template).is_ok(), "{template}");
        }
    }

    #[test]
    fn stages_stand_under_their_step_and_leave_when_it_has_ended() {
        let terminal = InMemoryTerm::new(20, 120);
        let mut tree = tree(&terminal, Order::default());
        let stages = vec![StageProgress { stage_id: 1, tasks_total: 4, tasks_done: 1, ..StageProgress::default() }];
        tree.steps(&[StepProgress { stages, ..step("a.b", "RUNNING") }, step("c.d", "PENDING")]);
        let text = terminal.contents();
        let position = |words: &str| text.find(words).unwrap_or_else(|| panic!("no '{words}' in\n{text}"));
        assert!(position("a.b  running") < position("stage 1  1/4 tasks"));
        assert!(position("stage 1") < position("c.d  waiting"));

        let failure = Fault::new(ErrorClass::DataQuality, "expectation", "3 rows");
        let record = Some(StepRecord { version: 7, ..StepRecord::default() });
        tree.steps(&[
            StepProgress { record, ..step("a.b", "COMMITTED") },
            StepProgress { failure: Some(failure.into()), ..step("c.d", "FAILED") },
        ]);
        tree.close("job", "FAILED", Duration::from_millis(1200));
        let text = terminal.contents();
        assert!(!text.contains("stage 1"), "{text}");
        for words in
            ["✓ a.b  committed version 7", "✗ c.d  failed: error[data-quality/expectation]", "job FAILED in 1.2 s"]
        {
            assert!(text.contains(words), "no '{words}' in\n{text}");
        }
    }

    #[test]
    fn steps_stand_in_the_order_of_the_pipeline_and_those_on_record_stay_when_the_driver_is_launched_again() {
        let terminal = InMemoryTerm::new(20, 120);
        let order = Order::of_tables(["silver.b", "bronze.a", "gold.c"].map(str::to_owned));
        let mut tree = tree(&terminal, order);
        tree.steps(&[step("bronze.a", "PENDING")]);
        let text = terminal.contents();
        let position = |words: &str| text.find(words).unwrap_or_else(|| panic!("no '{words}' in\n{text}"));
        assert!(position("silver.b  waiting") < position("bronze.a  waiting"), "{text}");
        assert!(position("bronze.a  waiting") < position("gold.c    waiting"), "{text}");

        let failure = Some(Fault::new(ErrorClass::Unavailable, "query-lost", "the master was lost").into());
        tree.steps(&[
            step("silver.b", "COMMITTED"),
            step("gold.c", "RUNNING"),
            StepProgress { failure, ..step("bronze.a", "FAILED") },
        ]);
        assert!(terminal.contents().contains("✗ bronze.a  failed: "), "{}", terminal.contents());
        // The next attempt begins with every step anew.
        tree.steps(&[step("bronze.a", "PENDING"), step("gold.c", "PENDING"), step("silver.b", "PENDING")]);
        tree.steps(&[step("silver.b", "COMMITTED"), step("bronze.a", "RUNNING")]);
        let text = terminal.contents();
        assert_eq!(text.matches("silver.b").count(), 1, "{text}");
        for words in ["✓ silver.b  committed", "bronze.a  running", "· gold.c    waiting"] {
            assert!(text.contains(words), "no '{words}' in\n{text}");
        }
        assert!(!text.contains("failed"), "{text}");
    }
}
