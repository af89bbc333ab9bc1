//! Progress as lines with a timestamp: for logs, CI and `-v`. Edge: reads the clock.

use std::collections::BTreeMap;
use std::io::Write;
use std::time::{Duration, Instant};

use chrono::{SecondsFormat, Utc};
use lake_proto::v1::{ApplicationStatus, StepProgress};
use lake_proto::{quantity, visible};

use super::{View, text};
use crate::order::Order;
use crate::report::relaunch;

/// A running step says something at most this often.
const PAUSE: Duration = Duration::from_secs(5);

pub(super) struct Lines<W> {
    out: W,
    application: (String, u32, String),
    /// What was said last of an attempt that ended.
    relaunch: Option<String>,
    order: Order,
    steps: BTreeMap<String, Shown>,
}

struct Shown {
    state: String,
    text: String,
    at: Instant,
}

impl<W: Write> Lines<W> {
    pub(super) fn new(out: W, order: Order) -> Self {
        Self { out, application: (String::new(), 0, String::new()), relaunch: None, order, steps: BTreeMap::new() }
    }

    fn line(&mut self, text: &str) {
        let now = Utc::now().to_rfc3339_opts(SecondsFormat::Millis, true);
        // Nobody listens any more when this fails; the job goes on.
        let _ = writeln!(self.out, "{now} {}", visible::lines(text));
    }

    fn step(&mut self, step: &StepProgress) {
        let text = text::step(step);
        if let Some(shown) = self.steps.get(&step.table) {
            let same_state = shown.state == step.state;
            if text::is_recorded(&shown.state) || shown.text == text || (same_state && shown.at.elapsed() < PAUSE) {
                return;
            }
        }
        self.line(&format!("{}: {text}", step.table));
        let shown = Shown { state: step.state.clone(), text, at: Instant::now() };
        self.steps.insert(step.table.clone(), shown);
    }
}

impl<W: Write> View for Lines<W> {
    fn note(&mut self, text: &str) {
        self.line(text);
    }

    fn application(&mut self, status: &ApplicationStatus) {
        let relaunch = relaunch(status);
        if let Some(words) = relaunch.as_ref().filter(|_| self.relaunch != relaunch) {
            self.line(&format!("{}: {words}", status.driver_id));
            self.relaunch.clone_from(&relaunch);
        }
        let now = (status.state.clone(), status.attempt, status.waits_for.clone());
        if self.application == now {
            return;
        }
        let worker = if status.worker_id.is_empty() { String::new() } else { format!(" on {}", status.worker_id) };
        let attempt = if status.attempt > 1 { format!(" (attempt {})", status.attempt) } else { String::new() };
        let waits =
            if status.waits_for.is_empty() { String::new() } else { format!(", waits for {}", status.waits_for) };
        self.line(&format!("{} {}{worker}{attempt}{waits}", status.driver_id, status.state));
        self.application = now;
    }

    fn steps(&mut self, steps: &[StepProgress]) {
        for step in self.order.sorted(steps, |step| &step.table) {
            self.step(step);
        }
    }

    fn close(&mut self, name: &str, state: &str, duration: Duration) {
        self.line(&format!("{name} {state} in {}", quantity::duration(duration)));
    }
}

#[cfg(test)]
mod tests {
    use lake_proto::{ErrorClass, Fault};

    use super::*;

    fn shown(steps: &[StepProgress]) -> Vec<String> {
        let mut out = Vec::new();
        let mut lines = Lines::new(&mut out, Order::default());
        for step in steps {
            lines.steps(std::slice::from_ref(step));
        }
        without_times(out)
    }

    fn without_times(out: Vec<u8>) -> Vec<String> {
        let text = String::from_utf8(out).unwrap();
        text.lines().map(|line| line.split_once(' ').unwrap().1.to_owned()).collect()
    }

    #[test]
    fn why_a_driver_is_launched_again_is_said_once_for_each_attempt_that_ended() {
        let status = |state: &str, attempt: u32, lost: Option<&str>| ApplicationStatus {
            driver_id: "driver-1".to_owned(),
            state: state.to_owned(),
            attempt,
            relaunch_reason: lost.map(|why| Fault::new(ErrorClass::Unavailable, "driver-lost", why).into()),
            ..ApplicationStatus::default()
        };
        let mut out = Vec::new();
        let mut lines = Lines::new(&mut out, Order::default());
        for status in [
            status("RUNNING", 1, None),
            status("RELAUNCHING", 1, Some("gone")),
            status("RUNNING", 2, Some("gone")),
            // The state between the attempts was not seen.
            status("RUNNING", 3, Some("gone again")),
            status("FINISHED", 3, None),
        ] {
            lines.application(&status);
            lines.application(&status);
        }
        let expected = [
            "driver-1 RUNNING",
            "driver-1: attempt 1 ended with error[unavailable/driver-lost]: gone",
            "driver-1 RELAUNCHING",
            "driver-1 RUNNING (attempt 2)",
            "driver-1: attempt 2 ended with error[unavailable/driver-lost]: gone again",
            "driver-1 RUNNING (attempt 3)",
            "driver-1 FINISHED (attempt 3)",
        ];
        assert_eq!(without_times(out), expected);
    }

    #[test]
    fn steps_come_in_the_order_of_the_pipeline() {
        let mut out = Vec::new();
        let order = Order::of_tables(["silver.b", "bronze.a", "gold.c"].map(str::to_owned));
        let waiting = ["bronze.a", "gold.c", "silver.b"].map(|table| StepProgress {
            table: table.to_owned(),
            state: "PENDING".to_owned(),
            ..StepProgress::default()
        });
        Lines::new(&mut out, order).steps(&waiting);
        assert_eq!(without_times(out), ["silver.b: waiting", "bronze.a: waiting", "gold.c: waiting"]);
    }

    #[test]
    fn a_step_on_record_is_not_shown_again_when_the_driver_is_launched_again_and_a_failed_one_is() {
        let step = |table: &str, state: &str| StepProgress {
            table: table.to_owned(),
            state: state.to_owned(),
            ..StepProgress::default()
        };
        let lines = shown(&[
            step("a.b", "RUNNING"),
            step("a.b", "COMMITTED"),
            step("c.d", "RUNNING"),
            step("c.d", "FAILED"),
            // The next attempt.
            step("a.b", "PENDING"),
            step("c.d", "PENDING"),
            step("a.b", "COMMITTED"),
            step("c.d", "RUNNING"),
            step("c.d", "SKIPPED"),
            step("c.d", "PENDING"),
            step("c.d", "SKIPPED"),
        ]);
        assert_eq!(lines.iter().filter(|line| line.starts_with("a.b")).count(), 2, "{lines:?}");
        let second: Vec<&str> = lines.iter().filter_map(|line| line.strip_prefix("c.d: ")).skip(1).collect();
        assert!(second[0].starts_with("failed: "), "{second:?}");
        assert_eq!(second[1..], ["waiting", "running", "skipped: this run has already committed it"]);
    }

    #[test]
    fn a_step_gets_a_line_per_state_and_none_for_repeats() {
        let step = |state: &str| StepProgress { table: "a.b".into(), state: state.into(), ..StepProgress::default() };
        let lines = shown(&[step("PENDING"), step("RUNNING"), step("RUNNING"), step("COMMITTED"), step("COMMITTED")]);
        assert_eq!(lines, ["a.b: waiting", "a.b: running", "a.b: committed"]);
    }
}
