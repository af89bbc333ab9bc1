//! The worker's configuration: file, then environment, then flags; validated once before anything starts. Edge: the
//! only place that reads the environment.

pub mod limits;

use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::parser::ValueSource;
use clap::{ArgAction, ArgMatches, CommandFactory, FromArgMatches, Parser};
use lake_proto::channel::master_addresses;
use lake_proto::v1::EffectiveSetting;
use lake_proto::{ErrorClass, Fault, quantity, visible};
pub use lake_telemetry::LogFormat;
use serde::Deserialize;

use self::limits::Host;
use crate::host;

const GIBIBYTE: u64 = 1 << 30;
const SMALLEST_MEMORY: u64 = 512 << 20;

/// The filter of the log when nothing else is asked for.
pub const DEFAULT_LOG_LEVEL: &str = lake_proto::LOG_FILTER;

/// What the worker runs with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Name or address that it listens at.
    pub host: String,
    /// gRPC port for masters; 0 takes a free one.
    pub port: u16,
    /// Arrow Flight port for readers of shuffle data; 0 takes a free one.
    pub flight_port: u16,
    /// HTTP port of the page, health and metrics; 0 takes a free one.
    pub webui_port: u16,
    /// Where others reach it.
    pub advertised: Advertised,
    /// Names beside its own under which the page is asked for; one that begins with a dot stands for all below it, `*` for
    /// all.
    pub webui_allowed_hosts: Vec<String>,
    /// Tasks at once. At least 1, at most 4 for each core of the host.
    pub cores: u32,
    /// Memory that tasks and drivers share. At least 512 MiB, at most twice the host's.
    pub memory_bytes: u64,
    /// Shuffle files, spills and drivers' directories; workers of one host may share it.
    pub work_dir: PathBuf,
    /// Age after which directories of ended applications and abandoned queries are removed.
    pub work_dir_ttl: Duration,
    /// How long a worker that drains waits at most for the master to release it; zero does not wait.
    pub drain_timeout: Duration,
    /// `lake://host:port[,host:port...]`
    pub master_url: String,
    /// How log lines look, of this daemon and its drivers.
    pub log_format: LogFormat,
    /// What this daemon and its drivers log, as a `tracing` filter.
    pub log_level: String,
    /// All of these with where they come from, to be shown.
    pub effective: Vec<EffectiveSetting>,
}

/// Where masters, drivers and other workers reach this one: as it listens, unless ports are mapped between.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Advertised {
    /// Name or address. Default: the one that it listens at.
    pub host: String,
    /// gRPC port; 0 for the one that is bound, as for the others. Default: the one to bind, as for the others.
    pub port: u16,
    /// Arrow Flight port.
    pub flight_port: u16,
    /// HTTP port.
    pub webui_port: u16,
}

/// What the command line asks for.
#[derive(Debug)]
pub enum Request {
    /// Run the daemon.
    Run(Box<Config>),
    /// Print this text and end.
    Dump(String),
}

#[derive(Debug, Parser)]
#[command(
    args_override_self = true,
    name = "lake-worker",
    version,
    disable_help_flag = true,
    about = "Runs tasks and drivers of lake jobs on this host",
    override_usage = "lake-worker [OPTIONS] [MASTER_URL]\n       lake-worker drain [OPTIONS] --worker <ID>",
    after_help = "Examples:\n  lake-worker --host h4 --cores 8 --memory 24g lake://h1:7077,h2:7077,h3:7077\n  \
                  lake-worker --config /etc/lake/worker.toml\n\n\
                  SIGTERM drains the worker: it finishes its tasks and serves its data until that is read. A second \
                  SIGTERM, and SIGINT, end it at once. `lake-worker drain --help` tells how to drain another one.\n\n\
                  Every option is also an environment variable and a key of --config FILE (TOML, the long name with \
                  '_' for '-'). Flags win over the environment, the environment over the file."
)]
struct Flags {
    /// Name or address to listen at, and others reach this host by; 0.0.0.0 and :: need --advertise-host
    #[arg(short = 'h', long, env = "LAKE_WORKER_HOST")]
    host: Option<String>,
    /// gRPC port, 0 for any [default: 7078]
    #[arg(short, long, env = "LAKE_WORKER_PORT")]
    port: Option<u16>,
    /// Arrow Flight port, 0 for any [default: 7079]
    #[arg(long, env = "LAKE_WORKER_FLIGHT_PORT")]
    flight_port: Option<u16>,
    /// HTTP port of the page, 0 for any [default: 8081]
    #[arg(long, env = "LAKE_WORKER_WEBUI_PORT")]
    webui_port: Option<u16>,
    /// Name or address others reach this worker by, when that is not --host, as with a container [default: --host]
    #[arg(long, env = "LAKE_ADVERTISE_HOST", value_name = "HOST")]
    advertise_host: Option<String>,
    /// gRPC port that others reach, when it is mapped to --port [default: --port]
    #[arg(long, env = "LAKE_ADVERTISE_PORT", value_name = "PORT")]
    advertise_port: Option<u16>,
    /// Arrow Flight port that others reach, when it is mapped to --flight-port [default: --flight-port]
    #[arg(long, env = "LAKE_ADVERTISE_FLIGHT_PORT", value_name = "PORT")]
    advertise_flight_port: Option<u16>,
    /// HTTP port that others reach, when it is mapped to --webui-port [default: --webui-port]
    #[arg(long, env = "LAKE_ADVERTISE_WEBUI_PORT", value_name = "PORT")]
    advertise_webui_port: Option<u16>,
    /// More names under which the page may be asked for, separated by commas: another name in 'Host' is refused.
    /// '.example.org' is every name below, '*' every name [default: none]
    #[arg(long, env = "LAKE_WORKER_WEBUI_ALLOWED_HOSTS", value_name = "NAMES")]
    webui_allowed_hosts: Option<String>,
    /// Tasks at once, at most 4 for each core of the host [default: all cores]
    #[arg(short, long, env = "LAKE_WORKER_CORES")]
    cores: Option<u32>,
    /// Memory for tasks and drivers, for example 8g, at most twice the host's [default: all but 1 GiB]
    #[arg(short, long, env = "LAKE_WORKER_MEMORY")]
    memory: Option<String>,
    /// Directory for shuffle files, spills and drivers [default: ./work]
    #[arg(short = 'd', long, env = "LAKE_WORKER_DIR")]
    work_dir: Option<PathBuf>,
    /// Age at which leftovers are removed [default: 7d]
    #[arg(long, env = "LAKE_WORKER_DIR_TTL")]
    work_dir_ttl: Option<String>,
    /// After SIGTERM, how long to wait for running tasks and drivers and for readers of shuffle data [default: 60s]
    #[arg(long, env = "LAKE_WORKER_DRAIN_TIMEOUT")]
    drain_timeout: Option<String>,
    /// Log lines on stderr [default: text]
    #[arg(long, env = "LAKE_LOG_FORMAT")]
    log_format: Option<LogFormat>,
    /// What this daemon and its drivers log: a level, or a filter like lake_worker=debug,h2=warn [default: info]
    #[arg(long, env = "LAKE_WORKER_LOG_LEVEL", value_name = "FILTER")]
    log_level: Option<String>,
    /// TOML file with any of these options
    #[arg(long, env = "LAKE_WORKER_CONFIG")]
    config: Option<PathBuf>,
    /// Print the effective values with their origin and end
    #[arg(long)]
    dump_config: bool,
    /// Print help
    #[arg(long, action = ArgAction::Help)]
    help: Option<bool>,
    /// Masters, for example lake://h1:7077,h2:7077,h3:7077
    #[arg(env = "LAKE_MASTER", value_name = "MASTER_URL")]
    master: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct FileConfig {
    host: Option<String>,
    port: Option<u16>,
    flight_port: Option<u16>,
    webui_port: Option<u16>,
    advertise_host: Option<String>,
    advertise_port: Option<u16>,
    advertise_flight_port: Option<u16>,
    advertise_webui_port: Option<u16>,
    webui_allowed_hosts: Option<String>,
    cores: Option<u32>,
    memory: Option<String>,
    work_dir: Option<PathBuf>,
    work_dir_ttl: Option<String>,
    drain_timeout: Option<String>,
    log_format: Option<LogFormat>,
    log_level: Option<String>,
    master: Option<String>,
}

/// Reads the command line (with the program's name first), the environment and the file it names. Prints help or
/// usage and ends the process when the command line asks for it or is not valid.
///
/// # Errors
/// `invalid-job` when a value or the file is not valid.
pub fn read(arguments: Vec<String>) -> Result<Request, Fault> {
    let matches = Flags::command().get_matches_from(arguments);
    effective(&matches, &Host::this())
}

fn effective(matches: &ArgMatches, here: &Host) -> Result<Request, Fault> {
    let flags = Flags::from_arg_matches(matches).map_err(|error| invalid(error.to_string()))?;
    let file = flags.config.as_deref().map_or_else(|| Ok(FileConfig::default()), read_file)?;
    let mut picked = Picked { matches, settings: Vec::new() };
    let memory = here.memory_bytes.map_or(GIBIBYTE, |total| total.saturating_sub(GIBIBYTE).max(SMALLEST_MEMORY));
    let host = picked.pick("host", flags.host, file.host, host::default_host);
    let port = picked.pick("port", flags.port, file.port, || 7078);
    let flight_port = picked.pick("flight_port", flags.flight_port, file.flight_port, || 7079);
    let webui_port = picked.pick("webui_port", flags.webui_port, file.webui_port, || 8081);
    let mut advertised_port = |id, given, file, bound| picked.pick(id, given, file, || bound);
    let advertised = Advertised {
        port: advertised_port("advertise_port", flags.advertise_port, file.advertise_port, port),
        flight_port: advertised_port(
            "advertise_flight_port",
            flags.advertise_flight_port,
            file.advertise_flight_port,
            flight_port,
        ),
        webui_port: advertised_port(
            "advertise_webui_port",
            flags.advertise_webui_port,
            file.advertise_webui_port,
            webui_port,
        ),
        host: picked.pick("advertise_host", flags.advertise_host, file.advertise_host, || host.clone()),
    };
    let config = Config {
        host,
        port,
        flight_port,
        webui_port,
        advertised,
        webui_allowed_hosts: listed(&picked.pick(
            "webui_allowed_hosts",
            flags.webui_allowed_hosts,
            file.webui_allowed_hosts,
            String::new,
        )),
        cores: picked.pick("cores", flags.cores, file.cores, || here.cores),
        memory_bytes: quantity::parse_bytes(&picked.pick("memory", flags.memory, file.memory, || memory.to_string()))
            .map_err(|why| invalid(format!("memory: {why}")))?,
        work_dir: picked.pick("work_dir", flags.work_dir, file.work_dir, || PathBuf::from("./work")),
        work_dir_ttl: picked.pick_duration("work_dir_ttl", flags.work_dir_ttl, file.work_dir_ttl, "7d")?,
        drain_timeout: picked.pick_duration("drain_timeout", flags.drain_timeout, file.drain_timeout, "60s")?,
        log_format: picked.pick("log_format", flags.log_format, file.log_format, || LogFormat::Text),
        log_level: picked.pick("log_level", flags.log_level, file.log_level, || DEFAULT_LOG_LEVEL.to_owned()),
        master_url: picked.pick("master", flags.master, file.master, String::new),
        effective: Vec::new(),
    };
    if flags.dump_config {
        let line = |setting: &EffectiveSetting| format!("{} = {} # {}", setting.key, setting.value, setting.origin);
        return Ok(Request::Dump(picked.settings.iter().map(line).collect::<Vec<_>>().join("\n")));
    }
    validate(&config, here)?;
    Ok(Request::Run(Box::new(Config { effective: picked.settings, ..config })))
}

fn read_file(path: &Path) -> Result<FileConfig, Fault> {
    let text = fs::read_to_string(path)
        .map_err(|error| invalid(format!("cannot read config file {}: {error}", path.display())))?;
    toml::from_str(&text).map_err(|error| invalid(format!("config file {}: {error}", path.display())))
}

/// The names between commas.
fn listed(names: &str) -> Vec<String> {
    names.split(',').map(str::trim).filter(|name| !name.is_empty()).map(str::to_owned).collect()
}

struct Picked<'a> {
    matches: &'a ArgMatches,
    settings: Vec<EffectiveSetting>,
}

impl Picked<'_> {
    fn pick<T: std::fmt::Debug>(
        &mut self,
        id: &str,
        given: Option<T>,
        file: Option<T>,
        default: impl FnOnce() -> T,
    ) -> T {
        let source = match self.matches.value_source(id) {
            Some(ValueSource::EnvVariable) => "environment",
            _ => "flag",
        };
        let (value, origin) = match (given, file) {
            (Some(value), _) => (value, source),
            (None, Some(value)) => (value, "file"),
            (None, None) => (default(), "default"),
        };
        let text = format!("{value:?}");
        let text = if text.starts_with('"') { text } else { text.to_lowercase() };
        let quoted = if text.starts_with(|c: char| c.is_alphabetic()) { format!("\"{text}\"") } else { text };
        self.settings.push(EffectiveSetting { key: id.to_owned(), value: quoted, origin: origin.to_owned() });
        value
    }

    fn pick_duration(
        &mut self,
        id: &str,
        given: Option<String>,
        file: Option<String>,
        default: &str,
    ) -> Result<Duration, Fault> {
        let text = self.pick(id, given, file, || default.to_owned());
        quantity::parse_duration(&text).map_err(|why| invalid(format!("{id}: {why}")))
    }
}

fn validate(config: &Config, here: &Host) -> Result<(), Fault> {
    if config.master_url.is_empty() {
        return Err(invalid("no master URL: give it as the last argument, for example lake://127.0.0.1:7077"));
    }
    master_addresses(&config.master_url)?;
    if config.cores == 0 {
        return Err(invalid("cores is 0: expected at least 1"));
    }
    if config.memory_bytes < SMALLEST_MEMORY {
        return Err(invalid(format!("memory is {}: expected at least 512m", quantity::bytes(config.memory_bytes))));
    }
    here.check(config.cores, config.memory_bytes).map_err(invalid)?;
    for (key, host) in [("host", &config.host), ("advertise_host", &config.advertised.host)] {
        if host.is_empty() || host.contains(|c: char| c.is_whitespace() || c == '/') {
            return Err(invalid(format!("{key} '{host}' is not a host name or address")));
        }
    }
    let advertised = &config.advertised.host;
    if !advertised.chars().all(|c| c.is_ascii_alphanumeric() || ".-_:[]".contains(c)) {
        let key = if *advertised == config.host { "host" } else { "advertise_host" };
        return Err(invalid(format!(
            "{key} '{}' is not a host name or address: expected letters, digits and . - _ : [ ]",
            visible::one_line(advertised)
        )));
    }
    if is_every_host(advertised) {
        return Err(reached_nowhere(advertised));
    }
    Ok(())
}

/// Whether the text is an address that stands for every address of a host, in one of the ways in which resolvers read it.
fn is_every_host(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let is_zero = |part: &str| {
        let digits = part.strip_prefix("0x").unwrap_or(part);
        !digits.is_empty() && digits.chars().all(|c| c == '0')
    };
    match bare.parse::<IpAddr>() {
        Ok(address) => address.to_canonical().is_unspecified(),
        // `0` and `000.0.0.0` are one, too.
        Err(_) => bare.split('.').all(is_zero),
    }
}

/// Looks once more when the port is bound: names are resolved then.
///
/// # Errors
/// `invalid-job` when the worker listens at every address of its host and nothing else is advertised.
pub(crate) fn check_bound(config: &Config, bound: IpAddr) -> Result<(), Fault> {
    if config.advertised.host == config.host && bound.to_canonical().is_unspecified() {
        return Err(reached_nowhere(&config.host));
    }
    Ok(())
}

fn reached_nowhere(advertised: &str) -> Fault {
    invalid(format!(
        "this worker would tell the others to reach it at {advertised}, where each of them finds itself: give \
         --advertise-host with the name or address of this host, or --host with it"
    ))
}

fn invalid(message: impl Into<String>) -> Fault {
    Fault::new(ErrorClass::InvalidJob, "config", message)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: Host = Host { cores: 4, memory_bytes: Some(8 << 30) };

    fn parse(arguments: &[&str]) -> Result<Request, Fault> {
        let arguments = std::iter::once("lake-worker").chain(arguments.iter().copied());
        effective(&Flags::command().try_get_matches_from(arguments).unwrap(), &HERE)
    }

    #[test]
    fn nothing_asked_for_means_what_the_host_has_but_for_one_gibibyte() {
        let Request::Run(config) = parse(&["lake://m:1"]).unwrap() else { panic!("expected a run") };
        assert_eq!((config.cores, config.memory_bytes), (4, 7 << 30));
        assert_eq!(HERE.oversubscribed(config.cores, config.memory_bytes), None);
    }

    #[test]
    fn flags_win_over_the_file_and_the_file_over_defaults() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("worker.toml");
        fs::write(&path, "cores = 3\nmemory = \"2g\"\nmaster = \"spark://m:1\"\nwork_dir_ttl = \"1h\"\nwebui_allowed_hosts = \"h5, .example.org\"\n").unwrap();
        let file = path.to_str().unwrap();
        let Request::Run(config) = parse(&["-h", "10.0.0.1", "-c", "5", "-p", "0", "--config", file]).unwrap() else {
            panic!("expected a run");
        };
        assert_eq!(config.host, "10.0.0.1");
        assert_eq!((config.cores, config.memory_bytes), (5, 2 << 30));
        assert_eq!((config.port, config.flight_port, config.webui_port), (0, 7079, 8081));
        assert_eq!(config.webui_allowed_hosts, ["h5", ".example.org"]);
        assert_eq!(config.master_url, "spark://m:1");
        assert_eq!(config.work_dir_ttl, Duration::from_secs(3600));
        assert_eq!(config.drain_timeout, Duration::from_secs(60));
        let told = |key: &str| {
            let setting = config.effective.iter().find(|setting| setting.key == key).unwrap();
            (setting.value.as_str(), setting.origin.as_str())
        };
        assert_eq!([told("cores"), told("flight_port")], [("5", "flag"), ("7079", "default")]);
        assert_eq!(told("memory"), ("\"2g\"", "file"));
        let Request::Dump(text) = parse(&["-c", "5", "--config", file, "--dump-config"]).unwrap() else {
            panic!("expected a dump");
        };
        assert!(text.contains("cores = 5 # flag") && text.contains("memory = \"2g\" # file"), "{text}");
        assert!(text.contains("flight_port = 7079 # default"), "{text}");
        assert!(text.contains(&format!("log_level = \"{DEFAULT_LOG_LEVEL}\" # default")), "{text}");
        toml::from_str::<FileConfig>(&text).unwrap();
    }

    #[test]
    fn what_is_advertised_is_what_is_bound_but_for_what_is_said() {
        let advertised = |arguments: &[&str]| {
            let Request::Run(config) = parse(&[arguments, &["lake://m:1"]].concat()).unwrap() else {
                panic!("expected a run");
            };
            config.advertised
        };
        let at = |host: &str, port, flight_port, webui_port| Advertised {
            host: host.to_owned(),
            port,
            flight_port,
            webui_port,
        };
        assert_eq!(advertised(&["-h", "h1"]), at("h1", 7078, 7079, 8081));
        assert_eq!(advertised(&["-h", "h1", "-p", "0", "--flight-port", "17079"]), at("h1", 0, 17079, 8081));
        let mapped = ["-h", "0.0.0.0", "--advertise-host", "h2", "--advertise-port", "27078"];
        let ports = ["--advertise-flight-port", "27079", "--advertise-webui-port", "28081"];
        assert_eq!(advertised(&[&mapped[..], &ports].concat()), at("h2", 27078, 27079, 28081));
        let Request::Dump(text) = parse(&[&mapped[..], &["--dump-config"]].concat()).unwrap() else {
            panic!("expected a dump");
        };
        for line in ["advertise_host = \"h2\" # flag", "advertise_flight_port = 7079 # default"] {
            assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
        }
        toml::from_str::<FileConfig>(&text).unwrap();
    }

    #[test]
    fn an_address_that_means_every_host_is_bound_and_never_advertised() {
        for host in ["0.0.0.0", "::", "[::]", "000.0.0.0", "0", "0x0", "::ffff:0.0.0.0", "[::ffff:0.0.0.0]"] {
            for arguments in [&["-h", host, "lake://m:1"][..], &["-h", "h1", "--advertise-host", host, "lake://m:1"]] {
                let fault = parse(arguments).unwrap_err();
                assert_eq!((fault.class, fault.code.as_str()), (ErrorClass::InvalidJob, "config"), "{arguments:?}");
                assert!(fault.message.contains(host) && fault.message.contains("--advertise-host"), "{fault}");
            }
            assert!(parse(&["-h", host, "--advertise-host", "h2", "lake://m:1"]).is_ok(), "{host}");
        }
    }

    #[test]
    fn a_name_that_turns_out_to_mean_every_host_is_not_advertised_either() {
        let run = |arguments: &[&str]| {
            let Request::Run(config) = parse(arguments).unwrap() else { panic!("expected a run") };
            config
        };
        let (alone, mapped) =
            (run(&["-h", "h1", "lake://m:1"]), run(&["-h", "h1", "--advertise-host", "h2", "lake://m:1"]));
        let every_host: [IpAddr; 3] = ["0.0.0.0", "::", "::ffff:0.0.0.0"].map(|address| address.parse().unwrap());
        for bound in every_host {
            let fault = check_bound(&alone, bound).unwrap_err();
            assert!(fault.message.contains("h1") && fault.message.contains("--advertise-host"), "{fault}");
            assert_eq!(check_bound(&mapped, bound), Ok(()));
        }
        assert_eq!(check_bound(&alone, "10.0.0.1".parse().unwrap()), Ok(()));
    }

    #[test]
    fn what_is_advertised_is_a_host_name_or_an_address() {
        for host in ["h-2.example_org", "10.0.0.1", "fd00::1", "[fd00::1]"] {
            assert!(parse(&["--advertise-host", host, "lake://m:1"]).is_ok(), "{host}");
        }
        for host in ["a<b>", "h2;x", "h\u{e4}st", "h2?x=1", "a@b", "h\u{1b}[2J", "\u{200b}"] {
            let fault = parse(&["--advertise-host", host, "lake://m:1"]).unwrap_err();
            assert_eq!((fault.class, fault.code.as_str()), (ErrorClass::InvalidJob, "config"), "{host:?}");
            assert!(fault.message.starts_with("advertise_host '"), "{fault}");
        }
    }

    #[test]
    fn the_help_shows_what_is_accepted() {
        let mut command = Flags::command();
        command.clone().debug_assert();
        let text = command.render_long_help().to_string();
        for usage in ["lake-worker [OPTIONS] [MASTER_URL]\n", "lake-worker drain [OPTIONS] --worker <ID>\n"] {
            assert!(text.contains(usage), "{text}");
        }
        let examples: Vec<&str> = text.lines().filter(|line| line.starts_with("  lake-worker ")).collect();
        assert_eq!(examples.len(), 2, "{text}");
        for example in examples {
            let matches = Flags::command().try_get_matches_from(example.split_whitespace());
            assert!(matches.is_ok(), "{example}");
        }
    }

    #[test]
    fn values_that_cannot_work_are_refused_with_what_was_expected() {
        for arguments in [
            &["-h", "a"][..],
            &["lake://nowhere"],
            &["-c", "0", "lake://m:1"],
            &["-m", "1m", "lake://m:1"],
            &["-m", "much", "lake://m:1"],
            &["-c", "100000", "lake://m:1"],
            &["--advertise-host", "h/1", "lake://m:1"],
            &["-m", "900t", "lake://m:1"],
            &["--drain-timeout", "soon", "lake://m:1"],
            &["--config", "/no/such/file", "lake://m:1"],
        ] {
            assert_eq!(parse(arguments).unwrap_err().class, ErrorClass::InvalidJob, "{arguments:?}");
        }
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("worker.toml");
        fs::write(&path, "coers = 3\n").unwrap();
        let error = parse(&["--config", path.to_str().unwrap(), "lake://m:1"]).unwrap_err();
        assert!(error.message.contains("coers"), "{error}");
    }
}
