//! Whole jobs in this process: what is refused before anything runs, what is logged, and what is kept of a step.

use std::io::Write;
use std::sync::{Arc, Mutex};

use chrono::{DateTime, NaiveDate};
use lake_job::{LoadOptions, Pipeline};
use lake_proto::v1::{ExpectationResult, StepProgress, StepRecord};
use lake_proto::{ErrorClass, LOG_FILTER};
use tempfile::TempDir;
use tokio::sync::watch;
use tracing::Instrument;

use super::inputs::profiles;
use super::local::Alone;
use super::run::{Identity, Run};
use crate::runner::local::LocalRunner;
use crate::session;
use crate::stores::Stores;

/// A folder with a source `numbers` of three rows, and a line that does not parse.
fn folder() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("numbers.csv"), "id,word\n1,one\n2,two\n?,bad\n3,three\n").unwrap();
    folder
}

/// A job with one table, of which the keys begin in line 13.
fn job(folder: &TempDir, keys: &str) -> Pipeline {
    let text = format!(
        "[job]\nname = \"j\"\n[warehouse]\nroot = \"lake\"\n\
         [[source]]\nname = \"numbers\"\nformat = \"csv\"\npath = \"numbers.csv\"\nmode = \"drop\"\n\
         schema = {{ id = \"bigint\", word = \"string\" }}\n\
         [[table]]\nname = \"bronze.numbers\"\n{keys}\n"
    );
    let options = LoadOptions::new(NaiveDate::from_ymd_opt(2026, 1, 1).unwrap(), folder.path());
    lake_job::parse("job.toml", &text, &options, &|_| Err("there is no such file".to_owned())).unwrap()
}

async fn run(folder: &TempDir, keys: &str, run_number: i64) -> crate::Result<StepRecord> {
    told_run(folder, keys, run_number).await.0
}

/// Its only step, and what was told of it in the end.
async fn told_run(folder: &TempDir, keys: &str, run_number: i64) -> (crate::Result<StepRecord>, StepProgress) {
    let pipeline = job(folder, keys);
    let stores = Arc::new(Stores::new(profiles(&pipeline)));
    let runtime = session::runtime(256 << 20, folder.path()).unwrap();
    let run_id = format!("run-{run_number}");
    let identity = Identity { run_id, run_number, moment: DateTime::UNIX_EPOCH };
    let runner = Arc::new(LocalRunner::new(1, runtime.clone()));
    let (progress, watched) = watch::channel(Vec::new());
    let run = Run::new(pipeline, identity, stores, runtime, runner, Arc::new(Alone), progress);
    let outcome = run.execute(Vec::new()).await.map(|mut steps| steps.remove(0));
    let told = watched.borrow().first().cloned().unwrap();
    (outcome, told)
}

fn query(sql: &str) -> String {
    format!("sql = \"{sql}\"\nmode = \"append\"")
}

#[tokio::test]
async fn what_a_step_could_not_do_is_refused_by_a_dry_run_and_before_a_run() {
    let folder = folder();
    let expect = |check: &str| {
        let expectation = format!("[[table.expect]]\nname = \"few\"\ncheck = \"{check}\"\naction = \"warn\"");
        format!("from = \"numbers\"\nmode = \"append\"\n{expectation}")
    };
    let replace =
        |predicate: &str| format!("from = \"numbers\"\nmode = \"replace_where\"\nreplace_where = \"{predicate}\"");
    let statistics = "\nproperties = { \"delta.dataSkippingStatsColumns\" = \"id, wrd\" }";
    for (keys, code, words) in [
        (
            query("SELECT word, count(*) FROM numbers GROUP BY word"),
            "delta-column",
            "job.toml:13:21: a column of table bronze.numbers would have no name of its own; give it a name: \
             count(*) AS …",
        ),
        (
            query("SELECT * FROM (SELECT id + 1, upper(word) FROM numbers) AS x"),
            "delta-column",
            "2 columns of table bronze.numbers would have no names of their own; give each a name: id + 1 AS …, \
             upper(word) AS …",
        ),
        (
            query("SELECT s.a FROM (SELECT named_struct('a', id) AS s FROM numbers) AS x"),
            "delta-column",
            "give it a name: s.a AS …",
        ),
        (
            query("SELECT id, wrd FROM numbers"),
            "sql-plan",
            "job.toml:13:19: there is no column 'wrd': expected one of id, word; did you mean 'word'?",
        ),
        (query("SELECT id, nosuch(word) AS w FROM numbers"), "sql-plan", "job.toml:13:19: invalid function 'nosuch'"),
        (
            query("SELECT id, word FROM numbers") + statistics,
            "delta-property",
            "no column 'wrd'; its columns are id, word",
        ),
        (
            replace("random() < 0.5"),
            "predicate",
            "job.toml:15: replace_where of table bronze.numbers: 'random() < 0.5': it gives another answer",
        ),
        (expect("id"), "check-type", "job.toml:17: expectation 'few': 'id' is of type bigint: expected a condition"),
        (expect("count(id) > 1"), "check-type", "expectation 'few': 'count(id) > 1' uses the aggregate function count"),
    ] {
        let dry = super::dry_run(job(&folder, &keys)).await.unwrap_err();
        let real = run(&folder, &keys, 1).await.unwrap_err().0;
        for fault in [dry, real] {
            assert_eq!((fault.class, fault.code.as_str()), (ErrorClass::InvalidJob, code), "{fault}");
            assert!(fault.message.contains(words) && !fault.message.contains('\n'), "{fault}");
        }
        assert!(!folder.path().join("lake").exists(), "{keys}");
    }
    let named = query("SELECT numbers.id, (word), 1 AS \\\"a number\\\" FROM numbers");
    let planned = super::dry_run(job(&folder, &named)).await.unwrap();
    assert_eq!(planned.steps[0].columns, ["id bigint", "word string", "a number bigint"]);
}

#[tokio::test]
async fn what_a_violated_expectation_has_counted_is_told_with_the_step_that_fails() {
    let folder = folder();
    let expectation = "[[table.expect]]\nname = \"few\"\ncheck = \"id < 3\"\naction = \"fail\"";
    let keys = format!("from = \"numbers\"\nmode = \"append\"\n{expectation}");
    let (outcome, told) = told_run(&folder, &keys, 1).await;
    assert_eq!(outcome.unwrap_err().class(), ErrorClass::DataQuality);
    assert_eq!(told.state, "FAILED");
    let few = ExpectationResult { name: "few".to_owned(), action: "fail".to_owned(), violations: 1, checked: Some(3) };
    assert_eq!(told.expectations.first(), Some(&few));
}

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    fn take(&self) -> String {
        String::from_utf8(std::mem::take(&mut self.0.lock().unwrap())).unwrap()
    }
}

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// The line at level info with these words, which must name the run and the table.
#[track_caller]
fn line<'a>(log: &'a str, words: &str) -> &'a str {
    line_at("INFO", log, words)
}

#[track_caller]
fn line_at<'a>(level: &str, log: &'a str, words: &str) -> &'a str {
    let found = log.lines().find(|line| line.contains(words)).unwrap_or_else(|| panic!("no '{words}' in\n{log}"));
    for field in [level, "app_id=\"run-1\"", "table=\"bronze.numbers\""] {
        assert!(found.contains(field), "{field} is not in {found}");
    }
    found
}

#[tokio::test]
async fn each_move_of_a_step_is_a_line_of_the_log_and_a_repeat_is_shown_as_it_was_committed() {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt().with_env_filter(LOG_FILTER).with_ansi(false);
    let _logging = tracing::subscriber::set_default(subscriber.with_writer(move || writer.clone()).finish());
    let folder = folder();
    let application = || super::spans::application("run-1", "", "");
    let keys = "from = \"numbers\"\nmode = \"append\"";

    let first = run(&folder, keys, 1).instrument(application()).await.unwrap();
    assert_eq!((first.outcome.as_str(), first.version), ("COMMITTED", 1));
    assert_eq!((first.rows_in, first.rows_out, first.files), (3, 3, 1));
    let text = log.take();
    assert!(line(&text, "step started").contains("mode=append"), "{text}");
    assert!(line(&text, "step planned").contains("table_files=0 pieces=1"), "{text}");
    let committed = line(&text, "step committed");
    for field in ["version=1", "rows=3", "files=1", "bytes=", "elapsed_ms="] {
        assert!(committed.contains(field), "{field} is not in {committed}");
    }
    assert_eq!(committed.matches("version=").count(), 1, "{committed}");
    assert!(!line(&text, "step planned").contains("version="), "{text}");

    // A later run has written the table.
    run(&folder, keys, 0).instrument(application()).await.unwrap_err();
    let text = log.take().replace("run-0", "run-1");
    assert!(line_at("ERROR", &text, "step failed").contains("error.class=conflict"), "{text}");

    // The driver was lost after its commit: nothing of the step is on record.
    let again = run(&folder, keys, 1).instrument(application()).await.unwrap();
    let expected =
        StepRecord { outcome: "SKIPPED".to_owned(), elapsed_ms: again.elapsed_ms, commit_ms: 0, ..first.clone() };
    assert_eq!(again, StepRecord { expectations: Vec::new(), ..expected });
    assert!(line(&log.take(), "step skipped").contains("version=1 rows=3 files=1"));
}

#[test]
fn what_the_engines_below_us_tell_is_not_in_the_log_unless_it_is_a_warning() {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt().with_env_filter(LOG_FILTER).with_writer(move || writer.clone()).finish();
    tracing::subscriber::with_default(subscriber, || {
        tracing::info!(target: "buoyant_kernel::log_segment", "detail");
        tracing::info!(target: "buoyant_kernel_engine::json", "detail");
        tracing::info!(target: "deltalake_core::kernel", "detail");
        tracing::info!(target: "datafusion_datasource::file", "detail");
        // What it says as an error is in the error that it returns.
        tracing::error!(target: "buoyant_kernel::error", "detail");
        tracing::warn!(target: "deltalake_core", "a warning");
        tracing::info!(target: "lake_engine::driver", "a move");
    });
    let text = log.take();
    assert!(!text.contains("detail") && text.contains("a warning") && text.contains("a move"), "{text}");
}
