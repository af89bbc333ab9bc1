//! Flags, environment and file, merged, with the origin of each value. Edge.

use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};

use clap::parser::ValueSource;
use clap::{ArgAction, ArgMatches, CommandFactory, FromArgMatches, Parser, Subcommand};
use lake_proto::Fault;
use lake_proto::quantity::parse_duration;
use lake_proto::v1::EffectiveSetting;
use lake_raft::{Directory, Member};
use serde::Deserialize;

use super::{Config, LogFormat, invalid};
use crate::operate::{self, Members};

/// The most that may be asked for with --max-queued-applications.
const MOST_QUEUED: u64 = 1_000_000;
/// The most that may be asked for with --history-max-count.
const MOST_KEPT: u64 = 1_000_000;

/// The leading daemon of a lake cluster: accepts jobs, places their drivers, schedules their queries.
///
/// Each option is also an environment variable and a key of the file given by --config (without the dashes in front,
/// with '_' for '-'). A flag is stronger than the environment, the environment stronger than the file.
#[derive(Debug, Parser)]
#[command(
    name = "lake-master",
    version,
    disable_help_flag = true,
    disable_help_subcommand = true,
    args_conflicts_with_subcommands = true,
    after_help = EXAMPLES
)]
struct Flags {
    /// Host to bind and to be reached at [default: 127.0.0.1]
    #[arg(short = 'h', long, env = "LAKE_MASTER_HOST")]
    host: Option<String>,
    /// gRPC port for workers, drivers and clients; 0 takes a free one [default: 7077]
    #[arg(short = 'p', long, env = "LAKE_MASTER_PORT")]
    port: Option<u16>,
    /// HTTP port of the page, /api/v1, /metrics, /healthz and /readyz; 0 takes a free one [default: 8080]
    #[arg(long, env = "LAKE_MASTER_WEBUI_PORT")]
    webui_port: Option<u16>,
    /// More names under which the page, /api/v1 and the REST port may be asked for, separated by commas: another name in
    /// 'Host' is refused. '.example.org' is every name below, '*' every name [default: none]
    #[arg(long, env = "LAKE_MASTER_WEBUI_ALLOWED_HOSTS", value_name = "NAMES")]
    webui_allowed_hosts: Option<String>,
    /// Port of Spark's submission REST API; 0 takes a free one [default: 6066]
    #[arg(long, env = "LAKE_MASTER_REST_PORT")]
    rest_port: Option<u16>,
    /// Do not serve Spark's submission REST API
    #[arg(long, env = "LAKE_MASTER_NO_REST")]
    no_rest: bool,
    /// Directory of the replicated log [default: lake-master-data]
    #[arg(long, env = "LAKE_MASTER_DATA_DIR", value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// This master's number in its group, from 1 [default: 1]
    #[arg(long, env = "LAKE_MASTER_ID", value_name = "N")]
    id: Option<u64>,
    /// All masters of the group with this one, the same list on each: 1@host:port,2@host:port,3@host:port
    #[arg(long, env = "LAKE_MASTER_PEERS", value_name = "LIST")]
    peers: Option<String>,
    /// Wait to be added to the group of --peers with 'lake-master members add'
    #[arg(long, env = "LAKE_MASTER_JOIN")]
    join: bool,
    /// Applications that may wait for a driver; more are refused [default: 20000]
    #[arg(long, env = "LAKE_MASTER_MAX_QUEUED_APPLICATIONS", value_name = "N")]
    max_queued_applications: Option<u64>,
    /// Where the records of ended applications are kept: a directory or an s3:// URL, which the masters of a group may
    /// share [default: history in --data-dir]
    #[arg(long, env = "LAKE_MASTER_HISTORY_DIR", value_name = "DIR|URL")]
    history_dir: Option<String>,
    /// Delete the records of applications that ended longer ago: 12h, 30d; 0 = never [default: 30d]
    #[arg(long, env = "LAKE_MASTER_HISTORY_MAX_AGE", value_name = "AGE")]
    history_max_age: Option<String>,
    /// Records to keep, of the applications that ended last [default: 10000]
    #[arg(long, env = "LAKE_MASTER_HISTORY_MAX_COUNT", value_name = "N")]
    history_max_count: Option<u64>,
    /// Shape of the log lines on stderr [default: text]
    #[arg(long, env = "LAKE_MASTER_LOG_FORMAT", value_enum)]
    log_format: Option<LogFormat>,
    /// What is logged: a level, or a filter like lake_master=debug,raft=warn [default: info]
    #[arg(long, env = "LAKE_MASTER_LOG_LEVEL", value_name = "FILTER")]
    log_level: Option<String>,
    /// TOML file with any of these options
    #[arg(long, env = "LAKE_MASTER_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    /// Print the effective values with their origin, and end
    #[arg(long)]
    dump_config: bool,
    /// Print help
    // Without clap's own flag, whose -h is the host here, no command would have one.
    #[arg(long, action = ArgAction::Help, global = true)]
    help: Option<bool>,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Show or change the masters of a running group
    #[command(flatten_help = true, after_help = operate::EXAMPLES)]
    Members(Members),
}

const EXAMPLES: &str = "\
Examples:
  lake-master --host h1 --data-dir /var/lib/lake
  lake-master --id 1 --host h1 --peers 1@h1:7077,2@h2:7077,3@h3:7077
  lake-master members list --master lake://h1:7077

'lake-master members --help' tells more of the last one.";

/// The file of --config.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct FileKeys {
    host: Option<String>,
    port: Option<u16>,
    webui_port: Option<u16>,
    webui_allowed_hosts: Option<String>,
    rest_port: Option<u16>,
    no_rest: Option<bool>,
    data_dir: Option<PathBuf>,
    id: Option<u64>,
    peers: Option<String>,
    join: Option<bool>,
    max_queued_applications: Option<u64>,
    history_dir: Option<String>,
    history_max_age: Option<String>,
    history_max_count: Option<u64>,
    log_format: Option<LogFormat>,
    log_level: Option<String>,
}

/// What the command line asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Serve with these settings.
    Run(Config),
    /// Print this text on stdout and end.
    Print(String),
    /// Look at a running group, or change it.
    Members(Members),
}

/// Merges flags, environment and file. `arguments` starts with the program's name.
///
/// # Errors
/// `invalid-job` with the flag, variable or key at fault. Wrong flags, `--help` and `--version` end the process as
/// clap does.
pub fn parse<I, T>(arguments: I) -> Result<Action, Fault>
where
    I: IntoIterator<Item = T>,
    T: Into<OsString> + Clone,
{
    let matches = command().get_matches_from(arguments);
    let mut flags = Flags::from_arg_matches(&matches).map_err(|error| invalid(error.to_string()))?;
    if let Some(Command::Members(members)) = flags.command.take() {
        return Ok(Action::Members(members));
    }
    let file = match &flags.config {
        Some(path) => read(path)?,
        None => FileKeys::default(),
    };
    let (config, dump) = merged(&matches, &flags, &file)?;
    check(&config)?;
    if flags.dump_config {
        return Ok(Action::Print(render(&dump)));
    }
    let effective = dump.into_iter().map(|(name, value, origin)| EffectiveSetting {
        key: name.to_owned(),
        value,
        origin: origin.to_string(),
    });
    Ok(Action::Run(Config { effective: effective.collect(), ..config }))
}

/// Each value from where it is strongest, and all of them with their origin.
fn merged(matches: &ArgMatches, flags: &Flags, file: &FileKeys) -> Result<(Config, Dump), Fault> {
    let origin = |name: &str, in_file: bool| match matches.value_source(name) {
        Some(ValueSource::CommandLine) => Origin::Flag,
        Some(ValueSource::EnvVariable) => Origin::Environment,
        Some(_) | None if in_file => Origin::File,
        Some(_) | None => Origin::Default,
    };
    let default = Config::default();
    let mut dump = Dump::new();
    macro_rules! effective {
        ($name:ident, $default:expr) => {{
            let origin = origin(stringify!($name), file.$name.is_some());
            let value = flags.$name.clone().or_else(|| file.$name.clone()).unwrap_or($default);
            dump.push((stringify!($name), toml_value(&value), origin));
            value
        }};
    }
    let list = effective!(peers, String::new());
    let join = flags.join || file.join.unwrap_or(default.join);
    dump.push(("join", join.to_string(), origin("join", file.join.is_some())));
    let no_rest = flags.no_rest || file.no_rest.unwrap_or(default.rest_port.is_none());
    dump.push(("no_rest", no_rest.to_string(), origin("no_rest", file.no_rest.is_some())));
    let rest_port = effective!(rest_port, default.rest_port.unwrap_or_default());
    let data_dir = effective!(data_dir, default.data_dir);
    let history_dir = effective!(history_dir, data_dir.join("history").display().to_string());
    let history_max_age = effective!(history_max_age, "30d".to_owned());
    let config = Config {
        peers: group(flags.id.or(file.id).unwrap_or(default.id), &list, join)?,
        join,
        host: effective!(host, default.host),
        port: effective!(port, default.port),
        webui_port: effective!(webui_port, default.webui_port),
        webui_allowed_hosts: listed(&effective!(webui_allowed_hosts, default.webui_allowed_hosts.join(","))),
        rest_port: (!no_rest).then_some(rest_port),
        data_dir,
        history_dir: Some(history_dir),
        history_max_age: parse_duration(&history_max_age)
            .map_err(|why| invalid(format!("--history-max-age: {why}")))?,
        history_max_count: effective!(history_max_count, default.history_max_count),
        id: effective!(id, default.id),
        max_queued_applications: effective!(max_queued_applications, default.max_queued_applications),
        log_format: effective!(log_format, default.log_format),
        log_level: effective!(log_level, default.log_level),
        effective: Vec::new(),
    };
    Ok((config, dump))
}

/// Whether these values can be, each alone and together.
fn check(config: &Config) -> Result<(), Fault> {
    if config.host.is_empty() {
        return Err(invalid("--host is empty: expected a name or an address".to_owned()));
    }
    if let Some(name) = config.webui_allowed_hosts.iter().find(|name| name.contains(|c| "/@ ".contains(c))) {
        return Err(invalid(format!(
            "--webui-allowed-hosts: '{name}' is not the name of a host, as in lake.example.org"
        )));
    }
    let ports =
        [("--port", Some(config.port)), ("--webui-port", Some(config.webui_port)), ("--rest-port", config.rest_port)];
    for (at, (flag, port)) in ports.iter().enumerate() {
        let same =
            ports.iter().take(at).find(|(_, other)| other.is_some_and(|other| other != 0 && Some(other) == *port));
        if let (Some((other, _)), Some(port)) = (same, port) {
            return Err(invalid(format!("{other} and {flag} are both {port}: each listens at a port of its own")));
        }
    }
    let queued = config.max_queued_applications;
    if !(1..=MOST_QUEUED).contains(&queued) {
        return Err(invalid(format!("--max-queued-applications is {queued}: expected 1 to {MOST_QUEUED}")));
    }
    let kept = config.history_max_count;
    if !(1..=MOST_KEPT).contains(&kept) {
        return Err(invalid(format!("--history-max-count is {kept}: expected 1 to {MOST_KEPT}")));
    }
    if config.history_dir.as_ref().is_some_and(|location| location.trim().is_empty()) {
        return Err(invalid("--history-dir is empty: expected a directory or a URL".to_owned()));
    }
    Ok(())
}

/// The definition of the command line.
pub(super) fn command() -> clap::Command {
    Flags::command()
}

fn read(path: &Path) -> Result<FileKeys, Fault> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| invalid(format!("config file {} cannot be read: {error}", path.display())))?;
    toml::from_str(&text)
        .map_err(|error| invalid(format!("config file {}: {}", path.display(), error.to_string().trim_end())))
}

/// The names between commas.
fn listed(names: &str) -> Vec<String> {
    names.split(',').map(str::trim).filter(|name| !name.is_empty()).map(str::to_owned).collect()
}

/// The masters in `1@h1:7077,2@h2:7077,3@h3:7077`.
fn group(id: u64, list: &str, joins: bool) -> Result<Directory, Fault> {
    if id == 0 {
        return Err(invalid("--id is 0: masters are numbered from 1".to_owned()));
    }
    let mut peers = Directory::default();
    for peer in list.split(',').map(str::trim).filter(|peer| !peer.is_empty()) {
        let member = member(peer)?;
        let is_known = |other: &Member| other.id == member.id || other.address == member.address;
        if peers.iter().any(is_known) {
            return Err(invalid(format!("--peers: '{peer}' repeats a number or an address; each master has its own")));
        }
        peers.insert(member);
    }
    let is_listed = peers.get(id).is_some();
    if joins && peers.is_empty() {
        return Err(invalid("--join needs --peers with the masters of the group to join".to_owned()));
    }
    if !joins && !peers.is_empty() && !is_listed {
        let message = format!("--peers does not list master {id}, which is this one; add it, or give --id or --join");
        return Err(invalid(message));
    }
    Ok(peers)
}

fn member(peer: &str) -> Result<Member, Fault> {
    let expected =
        || invalid(format!("--peers: '{peer}' is not valid: expected NUMBER@HOST:PORT, for example 1@h1:7077"));
    let (number, address) = peer.split_once('@').ok_or_else(expected)?;
    let (host, port) = address.rsplit_once(':').ok_or_else(expected)?;
    let id = number.parse::<u64>().ok().filter(|id| *id > 0).ok_or_else(expected)?;
    if host.is_empty() || !port.parse::<u16>().is_ok_and(|port| port > 0) {
        return Err(expected());
    }
    Ok(Member { id, address: address.to_owned(), incarnation: String::new() })
}

/// Settings by name, as the file would have them, with where they come from.
type Dump = Vec<(&'static str, String, Origin)>;

#[derive(Debug, Clone, Copy)]
enum Origin {
    Flag,
    Environment,
    File,
    Default,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Flag => "flag",
            Self::Environment => "environment",
            Self::File => "file",
            Self::Default => "default",
        })
    }
}

fn render(dump: &[(&str, String, Origin)]) -> String {
    let mut text = String::new();
    for (name, value, origin) in dump {
        text.push_str(&format!("{name} = {value} # {origin}\n"));
    }
    text
}

/// A value as the file would have it.
fn toml_value(value: &impl Printed) -> String {
    value.printed().to_string()
}

trait Printed {
    fn printed(&self) -> toml::Value;
}

impl Printed for String {
    fn printed(&self) -> toml::Value {
        toml::Value::String(self.clone())
    }
}

impl Printed for u16 {
    fn printed(&self) -> toml::Value {
        toml::Value::Integer(i64::from(*self))
    }
}

impl Printed for u64 {
    fn printed(&self) -> toml::Value {
        toml::Value::Integer(i64::try_from(*self).unwrap_or(i64::MAX))
    }
}

impl Printed for PathBuf {
    fn printed(&self) -> toml::Value {
        toml::Value::String(self.display().to_string())
    }
}

impl Printed for LogFormat {
    fn printed(&self) -> toml::Value {
        toml::Value::String(self.name().to_owned())
    }
}
