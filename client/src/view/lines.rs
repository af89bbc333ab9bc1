//! Progress as lines with a timestamp: for logs, CI and `-v`. Edge: reads the clock.

use std::collections::BTreeMap;
use std::io::Write;
use std::time::{Duration, Instant};

use chrono::{SecondsFormat, Utc};
use lake_proto::quantity;
use lake_proto::v1::{ApplicationStatus, StepProgress};

use super::{View, text};

/// A running step says something at most this often.
const PAUSE: Duration = Duration::from_secs(5);

pub(super) struct Lines<W> {
    out: W,
    application: (String, u32, String),
    steps: BTreeMap<String, Shown>,
}

struct Shown {
    state: String,
    text: String,
    at: Instant,
}

impl<W: Write> Lines<W> {
    pub(super) fn new(out: W) -> Self {
        Self { out, application: (String::new(), 0, String::new()), steps: BTreeMap::new() }
    }

    fn line(&mut self, text: &str) {
        let now = Utc::now().to_rfc3339_opts(SecondsFormat::Millis, true);
        // Nobody listens any more when this fails; the job goes on.
        let _ = writeln!(self.out, "{now} {text}");
    }

    fn step(&mut self, step: &StepProgress) {
        let text = text::step(step);
        if let Some(shown) = self.steps.get(&step.table) {
            let same_state = shown.state == step.state;
            if shown.text == text || (same_state && shown.at.elapsed() < PAUSE) {
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
        for step in steps {
            self.step(step);
        }
    }

    fn close(&mut self, name: &str, state: &str, duration: Duration) {
        self.line(&format!("{name} {state} in {}", quantity::duration(duration)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(steps: &[StepProgress]) -> Vec<String> {
        let mut out = Vec::new();
        let mut lines = Lines::new(&mut out);
        for step in steps {
            lines.steps(std::slice::from_ref(step));
        }
        let text = String::from_utf8(out).unwrap();
        text.lines().map(|line| line.split_once(' ').unwrap().1.to_owned()).collect()
    }

    #[test]
    fn a_step_gets_a_line_per_state_and_none_for_repeats() {
        let step = |state: &str| StepProgress { table: "a.b".into(), state: state.into(), ..StepProgress::default() };
        let lines = shown(&[step("PENDING"), step("RUNNING"), step("RUNNING"), step("COMMITTED"), step("COMMITTED")]);
        assert_eq!(lines, ["a.b: waiting", "a.b: running", "a.b: committed"]);
    }
}
