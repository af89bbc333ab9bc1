//! The worker's page: one HTML document without script or outside references. Pure but for what it asks the host.

use std::fmt::Write as _;
use std::time::SystemTime;

use lake_proto::quantity::{bytes, duration};
use lake_proto::web::escape;

use super::View;
use crate::drivers::Shown;
use crate::host;
use crate::registration::State;
use crate::tasks::Running;

const STYLE: &str = "\
:root{color-scheme:light dark}body{font:14px/1.45 system-ui,sans-serif;margin:2rem auto;max-width:72rem;padding:0 1rem}\
h1{font-size:1.25rem;margin:0 0 .25rem}h2{font-size:1rem;margin:1.75rem 0 .4rem}p{margin:.25rem 0}\
dl{display:flex;flex-wrap:wrap;gap:.5rem 2rem;margin:1rem 0}dt{font-size:.8rem;opacity:.65}dd{margin:0;font-size:1.05rem}\
table{border-collapse:collapse;width:100%}th,td{text-align:left;padding:.3rem .75rem .3rem 0;border-bottom:1px solid #8884;\
vertical-align:top}th{font-size:.8rem;opacity:.65;font-weight:500}td.n,th.n{text-align:right;font-variant-numeric:tabular-nums}\
code{font-size:.92em}.bad{color:#c33}.none{opacity:.6}";

/// The document.
pub(super) fn render(view: &View) -> String {
    let mut html = String::with_capacity(8 << 10);
    let running = view.tasks.running();
    let drivers = view.drivers.shown();
    let _ = write!(
        html,
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><title>lake worker {host}</title>\
         <meta name=\"viewport\" content=\"width=device-width\"><meta http-equiv=\"refresh\" content=\"5\">\
         <style>{STYLE}</style></head><body><h1>Worker {host}:{port}</h1>",
        host = escape(&view.offer.host),
        port = view.offer.grpc_port,
    );
    match &*view.state.borrow() {
        State::Registered { worker_id, master } => {
            let _ = write!(html, "<p><code>{}</code>, registered at {}</p>", escape(worker_id), escape(master));
        }
        State::Searching(why) => {
            let _ = write!(html, "<p class=\"bad\">Not registered: {}</p>", escape(why));
        }
    }
    if view.draining.has_begun() {
        html.push_str("<p>Draining: it takes nothing new and leaves when nothing of it is needed.</p>");
    }
    write_summary(&mut html, view, &running, &drivers);
    write_tasks(&mut html, &running);
    write_drivers(&mut html, &drivers);
    html.push_str("</body></html>");
    html
}

fn write_summary(html: &mut String, view: &View, running: &[Running], drivers: &[Shown]) {
    let cores: u32 = running.iter().map(|attempt| attempt.cores).sum();
    let disk = host::disk(view.work.root());
    let driver_memory: u64 =
        drivers.iter().filter(|driver| driver.end.is_none()).map(|driver| driver.memory_bytes).sum();
    let resident = host::resident_bytes(std::process::id()).unwrap_or(0);
    let facts = [
        ("Cores", format!("{cores} of {}", view.offer.cores)),
        ("Memory", bytes(view.offer.memory_bytes)),
        ("Reserved by tasks", bytes(view.tasks.memory_used())),
        ("Promised to drivers", bytes(driver_memory)),
        ("Resident", bytes(resident)),
        ("Disk free", format!("{} of {}", bytes(disk.free_bytes), bytes(disk.total_bytes))),
        ("Up", duration(view.started.elapsed())),
    ];
    html.push_str("<dl>");
    for (name, value) in facts {
        let _ = write!(html, "<div><dt>{name}</dt><dd>{}</dd></div>", escape(&value));
    }
    html.push_str("</dl>");
}

fn write_tasks(html: &mut String, running: &[Running]) {
    let _ = write!(html, "<h2>Running tasks ({})</h2>", running.len());
    if running.is_empty() {
        html.push_str("<p class=\"none\">None.</p>");
        return;
    }
    html.push_str(
        "<table><tr><th>Application</th><th>Query</th><th class=\"n\">Stage</th><th class=\"n\">Task</th>\
         <th class=\"n\">Attempt</th><th class=\"n\">Cores</th><th class=\"n\">Rows</th><th class=\"n\">Bytes</th>\
         <th class=\"n\">Seconds</th></tr>",
    );
    for attempt in running {
        let (task, metrics) = (&attempt.task, &attempt.metrics);
        let _ = write!(
            html,
            "<tr><td><code>{}</code></td><td><code>{}</code></td><td class=\"n\">{}</td><td class=\"n\">{}</td>\
             <td class=\"n\">{}</td><td class=\"n\">{}</td><td class=\"n\">{}</td><td class=\"n\">{}</td>\
             <td class=\"n\">{}</td></tr>",
            escape(&attempt.app_id),
            escape(&task.query_id),
            task.stage_id,
            task.task_index,
            task.attempt,
            attempt.cores,
            metrics.rows,
            bytes(metrics.bytes),
            metrics.elapsed_ms / 1000,
        );
    }
    html.push_str("</table>");
}

fn write_drivers(html: &mut String, drivers: &[Shown]) {
    html.push_str("<h2>Drivers</h2>");
    if drivers.is_empty() {
        html.push_str("<p class=\"none\">None.</p>");
        return;
    }
    html.push_str(
        "<table><tr><th>Driver</th><th>Application</th><th class=\"n\">Epoch</th><th class=\"n\">Process</th>\
         <th class=\"n\">Memory</th><th>Age</th><th>State</th><th>Logs</th></tr>",
    );
    let now = SystemTime::now();
    for driver in drivers {
        let id = escape(&driver.driver_id);
        let age = now.duration_since(driver.since).unwrap_or_default();
        let _ = write!(
            html,
            "<tr><td><code>{id}</code></td><td><code>{}</code></td><td class=\"n\">{}</td><td class=\"n\">{}</td>\
             <td class=\"n\">{}</td><td>{}</td><td>{}</td>\
             <td><a href=\"/logs/{id}/stdout\">stdout</a> <a href=\"/logs/{id}/stderr\">stderr</a></td></tr>",
            escape(&driver.app_id),
            driver.epoch,
            driver.pid,
            bytes(driver.memory_bytes),
            duration(age),
            escape(driver.end.as_deref().unwrap_or("running")),
        );
    }
    html.push_str("</table>");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_from_outside_cannot_become_markup() {
        let shown = Shown {
            driver_id: "driver-1".to_owned(),
            app_id: "app-1".to_owned(),
            epoch: 1,
            pid: 2,
            memory_bytes: 3,
            since: SystemTime::now(),
            end: Some("exit code 2: <script>".to_owned()),
        };
        let mut html = String::new();
        write_drivers(&mut html, &[shown]);
        assert!(html.contains("&lt;script&gt;") && !html.contains("<script>"), "{html}");
        assert!(html.contains("href=\"/logs/driver-1/stderr\""), "{html}");
    }
}
