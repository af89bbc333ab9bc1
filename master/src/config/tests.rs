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
    assert_eq!(config(&[]), Config::default());
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
        (&["--rest-port", "6066"], "--rest-port"),
        (&["--history-dir", "/h"], "--history-dir"),
        (&["--host", ""], "--host is empty"),
    ] {
        let fault = parsed(arguments).unwrap_err();
        assert_eq!(fault.class, ErrorClass::InvalidJob);
        assert!(fault.message.contains(expected), "{arguments:?}: {fault}");
    }
    assert_eq!(config(&["--id", "2", "--peers", "2@a:1"]).id, 2);
    let joining = config(&["--id", "4", "--join", "--peers", "1@a:1,2@b:2,3@c:3"]);
    assert!(joining.join && joining.peers.len() == 3);
}
