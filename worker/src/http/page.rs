//! The worker's page: HTML documents with nothing inline and no references to elsewhere. Pure but for what it asks the
//! host.

use std::fmt::Write as _;
use std::time::SystemTime;

use lake_proto::quantity::{bytes, count, duration};
use lake_web::{HEAD, MARK, SILENT, escape};

use super::View;
use crate::drivers::Shown;
use crate::host;
use crate::registration::{Offer, State};
use crate::tasks::Running;

/// The page.
pub(super) fn render(view: &View) -> String {
    let running = view.tasks.running();
    let drivers = view.drivers.shown();
    let mut main = String::with_capacity(8 << 10);
    write_state(&mut main, &view.state.borrow(), view.draining.has_begun());
    write_summary(&mut main, view, &running, &drivers);
    write_tasks(&mut main, &running);
    write_drivers(&mut main, &drivers);
    let up = format!("up {}", duration(view.started.elapsed()));
    document(&view.offer, "lake worker", &up, &main)
}

/// The answer to a path that is none of ours.
pub(super) fn missing(offer: &Offer, path: &str) -> String {
    let main = format!(
        "<section><h2>Not found</h2><p>There is no page at '{}'.</p><p><a href=\"/\">Tasks and drivers</a></p></section>",
        escape(path)
    );
    document(offer, "not found · lake worker", "", &main)
}

fn document(offer: &Offer, title: &str, at: &str, main: &str) -> String {
    let place = format!("{}:{}", offer.host, offer.grpc_port);
    format!(
        "{HEAD}<title>{title} {place}</title></head><body><a class=\"skip\" href=\"#main\">Skip to the content</a>\
         <header>{MARK}<h1><a href=\"/\">lake worker {place}</a></h1>\
         <span class=\"at\">{at}</span></header>{SILENT}<main id=\"main\">{main}</main></body></html>",
        title = escape(title),
        place = escape(&place),
        at = escape(at),
    )
}

fn write_state(html: &mut String, state: &State, is_draining: bool) {
    match state {
        State::Registered { worker_id, master, pages } => {
            let _ =
                write!(html, "<p class=\"soft\"><code>{}</code>, registered at {}", escape(worker_id), escape(master));
            if let Some(pages) = pages {
                let _ = write!(html, " · <a href=\"{}\">Workers and applications</a>", escape(pages));
            }
            html.push_str("</p>");
        }
        State::Searching(why) => {
            let _ = write!(html, "<p class=\"notice\">Not registered: {}</p>", escape(why));
        }
    }
    if is_draining {
        html.push_str(
            "<p class=\"notice\">Draining: it takes nothing new and leaves when nothing of it is needed.</p>",
        );
    }
}

fn write_summary(html: &mut String, view: &View, running: &[Running], drivers: &[Shown]) {
    let cores: u32 = running.iter().map(|attempt| attempt.cores).sum();
    let disk = host::disk(view.work.root());
    let driver_memory: u64 =
        drivers.iter().filter(|driver| driver.end.is_none()).map(|driver| driver.memory_bytes).sum();
    let resident = host::resident_bytes(std::process::id()).unwrap_or(0);
    let facts = [
        ("Cores in use", format!("{cores} of {}", view.offer.cores)),
        ("Memory", bytes(view.offer.memory_bytes)),
        ("Reserved by tasks", bytes(view.tasks.memory_used())),
        ("Promised to drivers", bytes(driver_memory)),
        ("Resident", bytes(resident)),
        ("Disk free", format!("{} of {}", bytes(disk.free_bytes), bytes(disk.total_bytes))),
    ];
    html.push_str("<section><h2>This worker</h2><dl>");
    for (name, value) in facts {
        let _ = write!(html, "<div><dt>{name}</dt><dd>{}</dd></div>", escape(&value));
    }
    html.push_str("</dl></section>");
}

fn write_tasks(html: &mut String, running: &[Running]) {
    let stopping = running.iter().filter(|attempt| attempt.is_stopping).count();
    let _ = write!(html, "<section><h2>Running tasks ({})", running.len() - stopping);
    if stopping > 0 {
        let _ = write!(html, "<small>{stopping} stopping</small>");
    }
    html.push_str("</h2>");
    if running.is_empty() {
        html.push_str("<p class=\"empty\">None.</p></section>");
        return;
    }
    let heads = [
        ("Task", ""),
        ("Application", ""),
        ("Attempt", "n"),
        ("Cores", "n"),
        ("Rows", "n"),
        ("Bytes", "n"),
        ("Time", "n"),
    ];
    write_head(html, "Running tasks", &heads);
    for attempt in running {
        let (task, metrics) = (&attempt.task, &attempt.metrics);
        let remark =
            if attempt.is_stopping { "<div class=\"soft\">stopping: nobody needs it any more</div>" } else { "" };
        let _ = write!(
            html,
            "<tr><th scope=\"row\">stage {}, task {}<div class=\"mono soft\">{}</div>{remark}</th>\
             <td class=\"mono\">{}</td><td class=\"n\">{}</td><td class=\"n\">{}</td><td class=\"n\">{}</td>\
             <td class=\"n nowrap\">{}</td><td class=\"n nowrap\">{}</td></tr>",
            task.stage_id,
            task.task_index,
            escape(&task.query_id),
            escape(&attempt.app_id),
            task.attempt,
            attempt.cores,
            count(metrics.rows),
            bytes(metrics.bytes),
            duration(std::time::Duration::from_millis(metrics.elapsed_ms)),
        );
    }
    html.push_str("</tbody></table></div></section>");
}

fn write_drivers(html: &mut String, drivers: &[Shown]) {
    let _ = write!(html, "<section><h2>Drivers ({})</h2>", drivers.len());
    if drivers.is_empty() {
        html.push_str("<p class=\"empty\">None.</p></section>");
        return;
    }
    let heads = [
        ("Driver", ""),
        ("Application", ""),
        ("State", ""),
        ("Logs", ""),
        ("Epoch", "n"),
        ("Process", "n"),
        ("Memory", "n"),
        ("Since launch", "n"),
    ];
    write_head(html, "Drivers", &heads);
    let now = SystemTime::now();
    for driver in drivers {
        let id = escape(&driver.driver_id);
        let age = now.duration_since(driver.since).unwrap_or_default();
        let _ = write!(
            html,
            "<tr><th scope=\"row\" class=\"mono\">{id}</th><td class=\"mono\">{}</td><td>{}</td>\
             <td class=\"nowrap\"><a href=\"/logs/{id}/stdout\" aria-label=\"stdout of {id}\">stdout</a> \
             <a href=\"/logs/{id}/stderr\" aria-label=\"stderr of {id}\">stderr</a></td>\
             <td class=\"n\">{}</td><td class=\"n\">{}</td><td class=\"n nowrap\">{}</td><td class=\"n nowrap\">{}</td></tr>",
            escape(&driver.app_id),
            escape(driver.end.as_deref().unwrap_or("running")),
            driver.epoch,
            driver.pid,
            bytes(driver.memory_bytes),
            duration(age),
        );
    }
    html.push_str("</tbody></table></div></section>");
}

/// A table up to its first row. Where it is wider than its page it scrolls, also by keys.
fn write_head(html: &mut String, label: &str, heads: &[(&str, &str)]) {
    let _ =
        write!(html, "<div class=\"scroll\" role=\"region\" aria-label=\"{label}\" tabindex=\"0\"><table><thead><tr>");
    for (title, class) in heads {
        let _ = write!(html, "<th scope=\"col\" class=\"{class}\">{title}</th>");
    }
    html.push_str("</tr></thead><tbody>");
}

#[cfg(test)]
mod tests {
    use lake_proto::v1::{TaskMetrics, TaskRef};

    use super::*;

    const HOSTILE: &str = "<img src=x onerror=alert(1)>\"'&";

    fn offer() -> Offer {
        Offer {
            host: HOSTILE.to_owned(),
            grpc_port: 7078,
            flight_port: 7079,
            http_port: 8081,
            cores: 4,
            memory_bytes: 1 << 30,
        }
    }

    /// As many elements are opened as closed, and nothing of it is text from outside, or inline.
    fn assert_sound(html: &str) {
        assert!(!html.contains("<img") && html.contains("&lt;img src=x"), "{html}");
        assert!(!html.contains(" style=") && !html.contains("<style") && !html.contains("<script>"), "{html}");
        for name in ["section", "div", "table", "thead", "tbody", "tr", "th", "td", "a", "p", "main", "header", "body"]
        {
            let opened = html.matches(&format!("<{name}>")).count() + html.matches(&format!("<{name} ")).count();
            assert_eq!(opened, html.matches(&format!("</{name}>")).count(), "{name} in {html}");
        }
    }

    #[test]
    fn drivers_are_shown_with_their_logs_and_text_from_outside_cannot_become_markup() {
        let shown = Shown {
            driver_id: "driver-1".to_owned(),
            app_id: HOSTILE.to_owned(),
            epoch: 1,
            pid: 2,
            memory_bytes: 3,
            since: SystemTime::now(),
            end: Some(format!("exit code 2: {HOSTILE}")),
        };
        let mut html = String::new();
        write_drivers(&mut html, &[shown]);
        assert_sound(&html);
        assert!(html.contains("href=\"/logs/driver-1/stderr\" aria-label=\"stderr of driver-1\""), "{html}");
        assert!(html.contains("Drivers (1)") && html.contains("<th scope=\"col\" class=\"\">Driver</th>"), "{html}");
    }

    #[test]
    fn tasks_are_shown_with_what_they_have_done() {
        let task = TaskRef { query_id: HOSTILE.to_owned(), stage_id: 2, task_index: 3, attempt: 4 };
        let metrics = TaskMetrics { rows: 12_345, bytes: 2_048, elapsed_ms: 4_250, ..TaskMetrics::default() };
        let mut html = String::new();
        let running = Running { task, app_id: HOSTILE.to_owned(), cores: 1, metrics, is_stopping: false };
        write_tasks(&mut html, std::slice::from_ref(&running));
        assert_sound(&html);
        for expected in ["Running tasks (1)", "stage 2, task 3", "12,345", "2.0 KiB", "4.2 s"] {
            assert!(html.contains(expected), "{expected} is not in {html}");
        }
        assert!(!html.contains("stopping"), "{html}");
        let of_ended = Running { is_stopping: true, ..running.clone() };
        html.clear();
        write_tasks(&mut html, &[running, of_ended]);
        assert_sound(&html);
        assert!(html.contains("Running tasks (1)<small>1 stopping</small>"), "{html}");
        assert_eq!(html.matches("stopping: nobody needs it any more").count(), 1, "{html}");
    }

    #[test]
    fn a_path_that_is_not_there_leads_home() {
        let html = missing(&offer(), HOSTILE);
        assert_sound(&html);
        assert!(html.contains("<title>not found · lake worker &lt;img"), "{html}");
        assert!(html.contains("<a href=\"/\">Tasks and drivers</a>"), "{html}");
        assert!(html.contains("<a class=\"skip\" href=\"#main\">") && html.contains("<main id=\"main\">"), "{html}");
    }

    #[test]
    fn a_worker_that_is_registered_links_to_the_pages_of_its_master() {
        let registered = |pages: Option<&str>| {
            let mut html = String::new();
            let (worker_id, master) = (HOSTILE.to_owned(), "m1:7077".to_owned());
            write_state(&mut html, &State::Registered { worker_id, master, pages: pages.map(str::to_owned) }, false);
            assert_sound(&html);
            html
        };
        let html = registered(Some("http://m1:8080/"));
        assert!(html.contains("registered at m1:7077 · <a href=\"http://m1:8080/\">Workers"), "{html}");
        assert!(!registered(None).contains("<a "));
    }

    #[test]
    fn a_worker_that_drains_or_looks_for_a_master_says_so_in_words() {
        let mut html = String::new();
        write_state(&mut html, &State::Searching(HOSTILE.to_owned()), true);
        assert_sound(&html);
        assert!(html.contains("Not registered: ") && html.contains("Draining: "), "{html}");
    }
}
