use super::*;

fn parsed(arguments: &[&str]) -> Result<Action, Fault> {
    parse(std::iter::once("lake-master").chain(arguments.iter().copied()))
}

fn config(arguments: &[&str]) -> Config {
    match parsed(arguments).unwrap() {
        Action::Run(config) => config,
        other => panic!("{other:?}"),
    }
}

fn file(text: &str) -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), text).unwrap();
    file
}

#[test]
fn nothing_given_means_the_documented_defaults() {
    let history_dir = Some("lake-master-data/history".to_owned());
    let found = config(&[]);
    let effective = found.effective.clone();
    assert_eq!(found, Config { history_dir, effective, ..Config::default() });
}

#[test]
fn every_setting_is_told_with_its_origin() {
    let file = file("port = 1\n");
    let path = file.path().to_str().unwrap();
    let effective = config(&["-h", "flag", "--config", path]).effective;
    let told = |key: &str| {
        let setting = effective.iter().find(|setting| setting.key == key).unwrap();
        (setting.value.as_str(), setting.origin.as_str())
    };
    assert_eq!([told("host"), told("port"), told("id")], [("\"flag\"", "flag"), ("1", "file"), ("1", "default")]);
}

#[test]
fn short_h_is_the_host_as_in_spark_and_flags_beat_the_file() {
    let file = file("host = \"file\"\nport = 1\nlog_format = \"json\"\n");
    let path = file.path().to_str().unwrap();
    let config = config(&["-h", "flag", "--config", path]);
    assert_eq!((config.host.as_str(), config.port, config.log_format), ("flag", 1, LogFormat::Json));
}

#[test]
fn the_dump_names_every_origin() {
    let file = file("port = 1\nmax_queued_applications = 3\n");
    let path = file.path().to_str().unwrap();
    let Action::Print(text) = parsed(&["--webui-port", "0", "--config", path, "--dump-config"]).unwrap() else {
        panic!("it started");
    };
    for line in [
        "host = \"127.0.0.1\" # default",
        "port = 1 # file",
        "webui_port = 0 # flag",
        "max_queued_applications = 3 # file",
    ] {
        assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
    }
}

#[test]
fn the_rest_port_is_chosen_or_left_out_and_names_are_listed() {
    assert_eq!(config(&["--rest-port", "0"]).rest_port, Some(0));
    assert_eq!(config(&["--no-rest", "--rest-port", "6066"]).rest_port, None);
    let names = config(&["--webui-allowed-hosts", "lake.example.org, .svc,,"]).webui_allowed_hosts;
    assert_eq!(names, ["lake.example.org", ".svc"]);
    let file = file("no_rest = true\nwebui_allowed_hosts = \"*\"\n");
    let config = config(&["--config", file.path().to_str().unwrap()]);
    assert_eq!((config.rest_port, config.webui_allowed_hosts), (None, vec!["*".to_owned()]));
}

#[test]
fn unknown_keys_and_later_features_are_refused_by_name() {
    let file = file("prot = 1\n");
    let path = file.path().to_str().unwrap();
    for (arguments, expected) in [
        (&["--config", path][..], "prot"),
        (&["--config", "/no/such/file"], "/no/such/file"),
        (&["--peers", "1@a:1,2@b:2,1@c:3"], "repeats a number"),
        (&["--peers", "1@a:1,2@a:1"], "repeats a number or an address"),
        (&["--peers", "2@a:1"], "does not list master 1"),
        (&["--join"], "--join needs --peers"),
        (&["--peers", "1@a:0"], "expected NUMBER@HOST:PORT"),
        (&["--peers", "a:1"], "expected NUMBER@HOST:PORT"),
        (&["--id", "0"], "numbered from 1"),
        (&["--max-queued-applications", "0"], "expected 1 to 1000000"),
        (&["--history-dir", " "], "--history-dir is empty"),
        (&["--history-max-age", "soon"], "--history-max-age: expected a number with s, m, h or d"),
        (&["--history-max-count", "0"], "expected 1 to 1000000"),
        (&["--host", ""], "--host is empty"),
        (&["--webui-allowed-hosts", "a,http://b/"], "--webui-allowed-hosts: 'http://b/' is not the name of a host"),
        (&["--port", "8080"], "--port and --webui-port are both 8080"),
        (&["--webui-port", "1", "--rest-port", "1"], "--webui-port and --rest-port are both 1"),
    ] {
        let fault = parsed(arguments).unwrap_err();
        assert_eq!(fault.class, ErrorClass::InvalidJob);
        assert!(fault.message.contains(expected), "{arguments:?}: {fault}");
    }
    assert_eq!(config(&["--id", "2", "--peers", "2@a:1"]).id, 2);
    let joining = config(&["--id", "4", "--join", "--peers", "1@a:1,2@b:2,3@c:3"]);
    assert!(joining.join && joining.peers.len() == 3);
}

#[test]
fn the_history_is_in_the_data_directory_unless_it_is_elsewhere() {
    assert_eq!(config(&["--data-dir", "/d"]).history_location(), "/d/history");
    let shared = config(&["--history-dir", "s3://b/h", "--history-max-age", "12h", "--history-max-count", "5"]);
    assert_eq!(shared.history_location(), "s3://b/h");
    assert_eq!(shared.retention(), Retention { max_age_ms: 43_200_000, most: 5 });
    assert_eq!(config(&["--history-max-age", "0"]).retention().max_age_ms, 0);
    let own = Config { data_dir: "/d".into(), ..Config::default() };
    assert_eq!((own.history_location().as_str(), own.retention().most), ("/d/history", 10_000));
}

/// What `lake-master <arguments>` prints as help.
fn help(arguments: &[&str]) -> String {
    let asked = cli::command().try_get_matches_from(std::iter::once(&"lake-master").chain(arguments));
    let answer = asked.unwrap_err();
    assert_eq!(answer.kind(), clap::error::ErrorKind::DisplayHelp, "{answer}");
    answer.to_string()
}

#[test]
fn every_help_has_the_usage_of_its_command_and_examples_that_are_accepted() {
    cli::command().debug_assert();
    let members = [
        "lake-master members list [OPTIONS]\n",
        "lake-master members add [OPTIONS] <NUMBER@HOST:PORT>\n",
        "lake-master members remove [OPTIONS] <NUMBER>\n",
    ];
    for (arguments, usages) in [
        (&["--help"][..], &["lake-master [OPTIONS]\n", "lake-master <COMMAND>\n"][..]),
        (&["members", "--help"], &members),
        (&["members", "list", "--help"], &members[..1]),
        (&["members", "add", "--help"], &members[1..2]),
        (&["members", "remove", "--help"], &members[2..]),
    ] {
        let text = help(arguments);
        for usage in usages {
            assert!(text.contains(usage), "{usage} is not in the help of {arguments:?}:\n{text}");
        }
        assert_eq!(text.contains("--data-dir <DIR>"), arguments[0] == "--help", "{arguments:?}:\n{text}");
        let examples: Vec<&str> = text.lines().filter(|line| line.starts_with("  lake-master ")).collect();
        assert!(!examples.is_empty(), "{text}");
        for example in examples {
            let accepted = cli::command().try_get_matches_from(example.split_whitespace());
            assert!(accepted.is_ok(), "{example}: {accepted:?}");
        }
    }
}

#[test]
fn the_daemons_options_do_not_go_with_a_command() {
    let refused = cli::command().try_get_matches_from(["lake-master", "--port", "1", "members", "list"]);
    assert_eq!(refused.unwrap_err().kind(), clap::error::ErrorKind::ArgumentConflict);
    for arguments in
        [&["members", "list", "--master", "lake://h1:7077"][..], &["members", "--master", "lake://h1:7077", "list"]]
    {
        assert!(matches!(parsed(arguments), Ok(Action::Members(_))), "{arguments:?}");
    }
}
