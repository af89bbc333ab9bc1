//! Launches of the driver, and why each ended. Pure.

use lake_proto::ErrorClass;
use lake_record::DriverAttempt;

use super::Application;
use crate::html::Column::{Instant, Number, Text};
use crate::html::{Html, cause, dash, duration, instant, link, nowrap, section, table, text};
use crate::link as to;

pub(super) fn attempts(application: &Application<'_>) -> Html {
    let record = application.record;
    let mut rows = Vec::new();
    for attempt in &record.attempts {
        let end_ms = if attempt.ended_at_ms > 0 { attempt.ended_at_ms } else { application.now_ms };
        rows.push(vec![
            text(format!("attempt {}", attempt.number)),
            if attempt.worker_id.is_empty() {
                text("in its client's process")
            } else {
                link(&to::worker(&attempt.worker_id), &attempt.worker_id)
            },
            instant(attempt.launched_at_ms),
            instant(attempt.ended_at_ms),
            match attempt.launched_at_ms {
                0 => dash(),
                at_ms => nowrap(duration(end_ms.saturating_sub(at_ms))),
            },
            text(exit(attempt)),
            attempt.failure.as_ref().map_or_else(dash, cause),
        ]);
    }
    let columns = [
        Text("Launch"),
        Text("Worker"),
        Instant("Launched"),
        Instant("Ended"),
        Number("Duration"),
        Text("Exit"),
        Text("Cause"),
    ];
    let summary = &record.summary;
    let remark = format!("{} of at most {}", summary.attempt, summary.max_attempts);
    let body = table("Launches of the driver", &columns, rows, "Its driver was not launched yet.");
    section("attempts", "Driver", remark, &[body])
}

/// `8 (data-quality)`, `signal 9`.
fn exit(attempt: &DriverAttempt) -> String {
    match (attempt.ended_at_ms, attempt.exit_code, attempt.signal) {
        (0, _, _) => "runs".to_owned(),
        (_, Some(code), _) => match ErrorClass::from_exit_code(code) {
            Some(class) => format!("{code} ({class})"),
            None => code.to_string(),
        },
        (_, None, 0) => "not known".to_owned(),
        (_, None, signal) => format!("signal {signal}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exit_is_told_in_numbers_and_in_words() {
        let attempt = |ended_at_ms, exit_code, signal| {
            exit(&DriverAttempt { ended_at_ms, exit_code, signal, ..DriverAttempt::default() })
        };
        let exits = [
            attempt(0, None, 0),
            attempt(5, Some(0), 0),
            attempt(5, Some(8), 0),
            attempt(5, Some(101), 0),
            attempt(5, None, 9),
            attempt(5, None, 0),
        ];
        assert_eq!(exits, ["runs", "0", "8 (data-quality)", "101", "signal 9", "not known"]);
    }
}
