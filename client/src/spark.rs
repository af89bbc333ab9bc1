//! Spark's spelling of the command line: what is understood when the program is called `spark-submit`, so that
//! Airflow's operator and old scripts can start it. Pure.

use std::collections::BTreeSet;

use lake_proto::{ErrorClass, Fault};

/// Options of spark-submit that take a value and mean nothing here: there is no JVM and nothing to ship.
const DROPPED: [&str; 24] = [
    "--archives",
    "--class",
    "--driver-class-path",
    "--driver-cores",
    "--driver-java-options",
    "--driver-library-path",
    "--exclude-packages",
    "--executor-cores",
    "--executor-memory",
    "--files",
    "--jars",
    "--keytab",
    "--num-executors",
    "--packages",
    "--principal",
    "--properties-file",
    "--proxy-user",
    "--py-files",
    "--queue",
    "--repositories",
    "--remote",
    "--yarn-tags",
    "--kill-signal",
    "--driver-log-dir",
];

/// Options that take a value and keep it.
const KEPT: [&str; 14] = [
    "--master",
    "--deploy-mode",
    "--name",
    "--total-executor-cores",
    "--driver-memory",
    "--status",
    "--kill",
    "--logs",
    "--param",
    "--only",
    "--from",
    "--show",
    "--output",
    "--submission-id",
];

const WAIT: &str = "spark.standalone.submit.waitAppCompletion";

/// A command line in our spelling, and what was left out of it.
#[derive(Debug, PartialEq, Eq)]
pub struct Translation {
    /// Arguments for [`crate::options::Options`], the program's name first.
    pub arguments: Vec<String>,
    /// Names of options without meaning here.
    pub dropped: BTreeSet<String>,
}

/// Whether a program of this name is asked in Spark's spelling.
pub fn is_spark(program: &str) -> bool {
    let name = program.rsplit('/').next().unwrap_or_default();
    matches!(name, "spark-submit" | "spark2-submit" | "spark3-submit")
}

/// Spark's command line in our spelling: its default deploy mode (`client`), its default of not waiting in cluster
/// mode, `local[N]` as a master, `name=value` after the job as parameters.
///
/// # Errors
/// `invalid-job` when an option lacks its value.
pub fn translate(arguments: &[String]) -> Result<Translation, Fault> {
    let mut spark = Spark::default();
    let mut rest = arguments.iter().skip(1);
    while let Some(argument) = rest.next() {
        let (name, inline) = match argument.split_once('=') {
            Some((name, value)) if name.starts_with("--") => (name, Some(value.to_owned())),
            _ => (argument.as_str(), None),
        };
        let takes_value = name == "--conf" || name == "-c" || DROPPED.contains(&name) || KEPT.contains(&name);
        if !takes_value {
            spark.plain(argument);
            continue;
        }
        let value = inline
            .or_else(|| rest.next().cloned())
            .ok_or_else(|| Fault::new(ErrorClass::InvalidJob, "usage", format!("option {name} needs a value")))?;
        spark.option(name, value);
    }
    Ok(spark.finish(arguments.first().cloned().unwrap_or_default()))
}

#[derive(Default)]
struct Spark {
    ours: Vec<String>,
    dropped: BTreeSet<String>,
    deploy_mode: Option<String>,
    local: bool,
    submits: bool,
    waits: bool,
}

impl Spark {
    fn plain(&mut self, argument: &str) {
        match argument {
            "--verbose" => self.ours.push("-v".to_owned()),
            _ if argument.starts_with('-') => self.ours.push(argument.to_owned()),
            // The first is the job, the others are its arguments.
            _ if !self.submits => {
                self.submits = true;
                self.ours.push(argument.to_owned());
            }
            _ => self.ours.extend(["--param".to_owned(), argument.to_owned()]),
        }
    }

    fn option(&mut self, name: &str, value: String) {
        match name {
            "--conf" | "-c" => self.conf(value),
            "--deploy-mode" => self.deploy_mode = Some(value),
            "--master" if value == "local" || value.starts_with("local[") => self.local_master(&value),
            _ if DROPPED.contains(&name) => {
                self.dropped.insert(name.to_owned());
            }
            _ => self.ours.extend([name.to_owned(), value]),
        }
    }

    fn conf(&mut self, setting: String) {
        match setting.split_once('=') {
            Some((WAIT, value)) => self.waits = value.eq_ignore_ascii_case("true"),
            Some((key, _)) if key.starts_with("spark.") => {
                self.dropped.insert(format!("--conf {key}"));
            }
            _ => self.ours.extend(["--conf".to_owned(), setting]),
        }
    }

    /// `local`, `local[4]`, `local[*]`, `local[4,2]`.
    fn local_master(&mut self, master: &str) {
        self.local = true;
        let cores = master.trim_start_matches("local").trim_matches(['[', ']']);
        let cores = cores.split(',').next().unwrap_or_default();
        if cores.parse::<u32>().is_ok() {
            self.ours.extend(["--total-executor-cores".to_owned(), cores.to_owned()]);
        } else if cores.is_empty() {
            self.ours.extend(["--total-executor-cores".to_owned(), "1".to_owned()]);
        }
    }

    fn finish(self, program: String) -> Translation {
        let mut arguments = vec![program];
        arguments.extend(self.ours);
        if self.submits {
            let mode = if self.local { "local".to_owned() } else { self.deploy_mode.unwrap_or("client".to_owned()) };
            if mode == "cluster" && !self.waits {
                arguments.push("--no-wait".to_owned());
            }
            arguments.extend(["--deploy-mode".to_owned(), mode]);
        }
        Translation { arguments, dropped: self.dropped }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arguments(line: &str) -> String {
        let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        translate(&words).unwrap().arguments.join(" ")
    }

    #[test]
    fn airflows_submission_is_a_cluster_submission_that_does_not_wait() {
        let line = "spark-submit --master spark://m:7077 --conf spark.executor.memory=2g --jars a.jar --class X \
                    --total-executor-cores 2 --name arrow-spark --verbose --deploy-mode cluster job.toml ds=2026-01-01";
        assert_eq!(
            arguments(line),
            "spark-submit --master spark://m:7077 --total-executor-cores 2 --name arrow-spark -v job.toml \
             --param ds=2026-01-01 --no-wait --deploy-mode cluster"
        );
    }

    #[test]
    fn airflows_status_and_kill_pass_through() {
        let line = "spark-submit --master spark://m:7077 --status driver-20261121093012-0001";
        assert_eq!(arguments(line), line);
        let line = "spark-submit --master spark://m:7077 --kill driver-20261121093012-0001";
        assert_eq!(arguments(line), line);
    }

    #[test]
    fn sparks_defaults_hold_without_options() {
        assert_eq!(arguments("spark-submit job.toml"), "spark-submit job.toml --deploy-mode client");
        let waiting =
            "spark-submit --deploy-mode=cluster --conf spark.standalone.submit.waitAppCompletion=true job.toml";
        assert_eq!(arguments(waiting), "spark-submit job.toml --deploy-mode cluster");
        let local = "spark-submit --master local[4] job.toml";
        assert_eq!(arguments(local), "spark-submit --total-executor-cores 4 job.toml --deploy-mode local");
        assert_eq!(arguments("spark-submit --master local[*] job.toml"), "spark-submit job.toml --deploy-mode local");
    }

    #[test]
    fn what_has_no_meaning_is_named() {
        let words = ["spark-submit", "--jars", "a", "--conf", "spark.x=1", "--conf", "job.timeout=1h", "job.toml"];
        let translation = translate(&words.map(str::to_owned)).unwrap();
        assert_eq!(translation.dropped, ["--conf spark.x".to_owned(), "--jars".to_owned()].into());
        assert!(translation.arguments.join(" ").contains("--conf job.timeout=1h"));
        assert!(translate(&["spark-submit".to_owned(), "--jars".to_owned()]).is_err());
    }

    #[test]
    fn only_sparks_names_are_asked_in_its_spelling() {
        assert!(is_spark("/usr/bin/spark-submit") && is_spark("spark3-submit"));
        assert!(!is_spark("lake-submit") && !is_spark("/opt/spark-submit/lake-submit"));
    }
}
