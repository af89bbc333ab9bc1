//! Applications that run or wait, and those that have ended. Pure.

use lake_master_core::view::ApplicationView;
use lake_proto::quantity::count;

use super::{ACTIVE, Active, COMPLETED, Cluster, SHOWN};
use crate::draw::strip;
use crate::html::Column::{Instant, Number, Text};
use crate::html::{Html, badge, duration, instant, link, nowrap, number, section, span, table, text, under};
use crate::link as to;

impl Cluster<'_> {
    pub(super) fn running(&self) -> Html {
        let mut rows = Vec::new();
        for active in self.active {
            let application = &active.application;
            rows.push(vec![
                name(application),
                state(application),
                active.progress(),
                text(format!("{} of {}", application.attempt, application.max_attempts)),
                nowrap(duration(self.now_ms.saturating_sub(application.submitted_at_ms))),
                place(application),
            ]);
        }
        let remark = match self.count(&ACTIVE) {
            few if few <= SHOWN => few.to_string(),
            many => format!("{SHOWN} of {many}, those with a driver first"),
        };
        let columns = [
            Text("Application"),
            Text("State"),
            Text("Progress"),
            Text("Attempt"),
            Number("Since submission"),
            Text("Driver"),
        ];
        let sentence = "No application is running. Submit one with lake-submit.";
        let body = table("Running applications", &columns, rows, sentence);
        section("running", "Running applications", remark, &[body])
    }

    pub(super) fn ended(&self) -> Html {
        let mut rows = Vec::new();
        for application in self.completed {
            let started_at_ms = match application.started_at_ms {
                0 => application.submitted_at_ms,
                at_ms => at_ms,
            };
            let rows_out = application.steps.iter().map(|step| step.rows_out).fold(0, u64::saturating_add);
            let reason = match &application.failure {
                Some(fault) => text(format!("{} · {}", fault.class, fault.code)),
                None => text(""),
            };
            rows.push(vec![
                name(application),
                state(application),
                number(application.steps.len()),
                number(rows_out),
                nowrap(duration(application.ended_at_ms.saturating_sub(started_at_ms))),
                instant(application.ended_at_ms),
                reason,
            ]);
        }
        let columns = [
            Text("Application"),
            Text("State"),
            Number("Steps"),
            Number("Rows written"),
            Number("Duration"),
            Instant("Ended"),
            Text("Reason"),
        ];
        let remark = match self.count(&COMPLETED) {
            few if few <= SHOWN => few.to_string(),
            many => format!("the last {SHOWN} of {}", count(u64::try_from(many).unwrap_or(u64::MAX))),
        };
        let body = table("Completed applications", &columns, rows, "None yet.");
        let all = under("more", link(to::route::HISTORY, "All applications, with search"));
        section("ended", "Completed applications", remark, &[body, all])
    }
}

impl Active {
    /// Steps on record and under way, of all that the driver has told of, and the tasks of the running ones.
    fn progress(&self) -> Html {
        let done = self.application.steps.len();
        let is_open = |table: &str| !self.application.steps.iter().any(|step| step.table == table);
        let open: Vec<_> = self.steps.iter().filter(|step| is_open(&step.table)).collect();
        let running = open.iter().filter(|step| matches!(step.state.as_str(), "RUNNING" | "COMMITTING")).count();
        let failed = open.iter().filter(|step| step.state == "FAILED").count();
        let whole = done + open.len();
        if whole == 0 {
            return span("soft", "no step yet");
        }
        let figure = |number: usize| u64::try_from(number).unwrap_or(u64::MAX);
        let parts = [("good", figure(done)), ("bad", figure(failed)), ("run", figure(running))];
        let mut cell = strip::progress(&parts, figure(whole));
        cell.push(&nowrap(format!("{done} of {whole} steps")));
        let stages = open.iter().flat_map(|step| &step.stages);
        let (tasks, tasks_done) = stages.fold((0_u64, 0_u64), |(tasks, done), stage| {
            (tasks + u64::from(stage.tasks_total), done + u64::from(stage.tasks_done))
        });
        if tasks > 0 {
            cell.push(&under("soft small nowrap", text(format!("{} of {} tasks", count(tasks_done), count(tasks)))));
        }
        cell
    }
}

fn place(application: &ApplicationView) -> Html {
    let mut place = match (&application.waits_for, application.deploy_mode) {
        (Some(reason), _) => span("soft", format!("waits for {reason}")),
        (None, "client") => span("soft", "in its client's process"),
        (None, _) if application.worker_id.is_empty() => span("soft", "–"),
        (None, _) => {
            let mut worker = link(&to::worker(&application.worker_id), &application.worker_address);
            worker.push(&under("mono soft nowrap", text(&application.worker_id)));
            worker
        }
    };
    if let Some(fault) = &application.relaunch_reason {
        let remark = format!("last attempt: {} · {}", fault.class, fault.code);
        place.push(&under("soft small", text(remark)));
    }
    place
}

fn name(application: &ApplicationView) -> Html {
    let mut cell = link(&to::application(&application.app_id), &application.name);
    cell.push(&under("mono soft nowrap", text(&application.app_id)));
    cell
}

fn state(application: &ApplicationView) -> Html {
    badge(if application.is_killing { "KILLING" } else { application.state })
}
