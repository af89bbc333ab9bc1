//! Sessions at a PostgreSQL server: how they are opened, what is set in them, how they end. Edge.

use std::pin::pin;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use datafusion::common::runtime::SpawnedTask;
use tokio_postgres::config::{Host, SslMode};
use tokio_postgres::{Client, Config, CopyOutStream, Error, NoTls};

use super::errors;
use crate::stores::Connection;
use crate::{EngineError, Result};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
const KEEPALIVE_IDLE: Duration = Duration::from_secs(30);
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// Text forms are the same in driver and tasks whatever the role's defaults are, and long reads are not cut off.
const SETTINGS: &str = "SET statement_timeout = 0; SET lock_timeout = 0; \
     SET idle_in_transaction_session_timeout = 0; SET TimeZone = 'UTC'; SET DateStyle = 'ISO, YMD'; \
     SET IntervalStyle = 'postgres'; SET extra_float_digits = 3; SET bytea_output = 'hex'; \
     SET standard_conforming_strings = on";

/// An abandoned query ends soon, even when it is not sending rows.
const SETTINGS_SINCE_14: &str = "; SET client_connection_check_interval = '5s'";

/// A read-only session. Dropping it closes its socket at once; [`Session::close`] says good-bye first.
pub(super) struct Session {
    client: Client,
    socket: SpawnedTask<()>,
    fault: Arc<OnceLock<EngineError>>,
    /// Major version of the server; 0 when it does not say.
    pub(super) server_version: u32,
}

impl Session {
    /// Connects and applies the settings.
    ///
    /// # Errors
    /// `invalid-job` for a URL that does not parse or wants TLS, `denied` for a refused log-in, `not-found` for a
    /// database that does not exist, `unavailable` when the server is not reachable.
    pub(super) async fn open(connection: &Connection, name: &str) -> Result<Self> {
        let config = config(connection, name)?;
        let target = format!("connection '{name}' ({})", target(&config));
        let (client, connection) = config
            .connect(NoTls)
            .await
            .map_err(|error| errors::of_connecting(&error, &target, config.get_password().is_some()))?;
        let version = connection.parameter("server_version").map_or(0, major_version);
        let fault = Arc::new(OnceLock::new());
        let slot = Arc::clone(&fault);
        let socket = SpawnedTask::spawn(async move {
            // The connection is dropped after its error is kept, so that whoever sees it closed finds out why.
            let mut connection = pin!(connection);
            if let Err(error) = connection.as_mut().await {
                let _ = slot.set(errors::of_statement(&error, None));
            }
        });
        let session = Self { client, socket, fault, server_version: version };
        let since_14 = if version >= 14 { SETTINGS_SINCE_14 } else { "" };
        session.run(&format!("{SETTINGS}{since_14}")).await?;
        Ok(session)
    }

    /// The client, for queries whose errors go through [`Self::explain`].
    pub(super) fn client(&self) -> &Client {
        &self.client
    }

    /// Runs statements without an answer.
    ///
    /// # Errors
    /// The statement's class.
    pub(super) async fn run(&self, statements: &str) -> Result<()> {
        self.client.batch_execute(statements).await.map_err(|error| self.explain(&error, None))
    }

    /// Begins a transaction that sees what the exported snapshot sees.
    ///
    /// # Errors
    /// `unavailable` with code `source-snapshot` when the snapshot is gone.
    pub(super) async fn join_snapshot(&self, snapshot: &str) -> Result<()> {
        self.run("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").await?;
        let statement = format!("SET TRANSACTION SNAPSHOT {}", super::sql::literal(snapshot));
        match self.client.batch_execute(&statement).await {
            Ok(()) => Ok(()),
            Err(error) if error.as_db_error().is_some() => Err(errors::of_snapshot(&error)),
            Err(error) => Err(self.explain(&error, None)),
        }
    }

    /// Starts `COPY … TO STDOUT`.
    ///
    /// # Errors
    /// The statement's class.
    pub(super) async fn copy_out(&self, statement: &str) -> Result<CopyOutStream> {
        self.client.copy_out(statement).await.map_err(|error| self.explain(&error, None))
    }

    /// The classed error of a statement; of a closed connection, the reason for its end.
    pub(super) fn explain(&self, error: &Error, query: Option<&str>) -> EngineError {
        if error.is_closed()
            && let Some(fault) = self.fault.get()
        {
            return fault.clone();
        }
        errors::of_statement(error, query)
    }

    /// Ends the session in an orderly way, so that the server does not log a lost client.
    pub(super) async fn close(self) {
        let Self { client, socket, .. } = self;
        drop(client);
        // After the time limit the socket is simply closed.
        let _ = tokio::time::timeout(CLOSE_TIMEOUT, socket).await;
    }
}

fn config(connection: &Connection, name: &str) -> Result<Config> {
    let mut config: Config = connection.url.parse().map_err(|error: Error| {
        // The cause names the option, never the URL, which may hold a password.
        let cause = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
        EngineError::invalid(
            "source-connection",
            format!(
                "connection '{name}' has no usable url: expected postgres://user[:password]@host[:port]/database; {cause}"
            ),
        )
    })?;
    if config.get_ssl_mode() == SslMode::Require {
        return Err(EngineError::invalid(
            "source-tls",
            format!(
                "connection '{name}' has sslmode=require, and this build does not speak TLS to databases: nothing was \
                 sent; use sslmode=prefer on a trusted network or a local TLS proxy"
            ),
        ));
    }
    if config.get_hosts().is_empty() && config.get_hostaddrs().is_empty() {
        return Err(EngineError::invalid("source-connection", format!("the url of connection '{name}' names no host")));
    }
    if let Some(password) = &connection.password {
        config.password(password);
    }
    if config.get_connect_timeout().is_none() {
        config.connect_timeout(CONNECT_TIMEOUT);
    }
    config.keepalives_idle(KEEPALIVE_IDLE);
    if config.get_application_name().is_none() {
        config.application_name("lake");
    }
    Ok(config)
}

/// `host:port/database` without secrets.
fn target(config: &Config) -> String {
    let Place { host, port, database } = place_in(config);
    format!("{host}:{port}/{database}")
}

/// Where a database is. Nothing of it is a secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) database: String,
}

/// Where a connection leads, without going there.
///
/// # Errors
/// `invalid-job` for a URL that does not parse or wants TLS.
pub(super) fn place(connection: &Connection, name: &str) -> Result<Place> {
    config(connection, name).map(|config| place_in(&config))
}

fn place_in(config: &Config) -> Place {
    let host = match config.get_hosts().first() {
        Some(Host::Tcp(host)) => host.clone(),
        Some(Host::Unix(path)) => path.display().to_string(),
        None => config.get_hostaddrs().first().map(ToString::to_string).unwrap_or_default(),
    };
    let port = config.get_ports().first().copied().unwrap_or(5432);
    let database = config.get_dbname().or_else(|| config.get_user()).unwrap_or_default().to_owned();
    Place { host, port, database }
}

/// `15` of `15.13 (Debian …)` and of `16beta1`.
fn major_version(text: &str) -> u32 {
    text.chars().take_while(char::is_ascii_digit).collect::<String>().parse().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use lake_proto::ErrorClass;

    fn parse(url: &str) -> Result<Config> {
        config(&Connection { url: url.to_owned(), password: Some("s3cret".to_owned()) }, "crm")
    }

    #[test]
    fn required_tls_is_refused_and_a_broken_url_never_shown() {
        let refused = parse("postgres://u@h/d?sslmode=require").unwrap_err();
        assert_eq!((refused.class(), refused.code()), (ErrorClass::InvalidJob, "source-tls"));
        let verify = parse("postgres://u:pw1234@h/d?sslmode=verify-full").unwrap_err();
        assert_eq!(verify.class(), ErrorClass::InvalidJob);
        assert!(!verify.to_string().contains("pw1234"), "{verify}");
        let broken = parse("postgres://u:pw1234@h:notaport/d").unwrap_err();
        assert!(!broken.to_string().contains("pw1234"), "{broken}");
        assert_eq!(parse("postgres:///d").unwrap_err().code(), "source-connection");
    }

    #[test]
    fn the_profile_password_wins_and_the_target_has_no_secret() {
        let config = parse("postgres://u:other@h:1234/d").unwrap();
        assert_eq!(config.get_password(), Some(b"s3cret".as_slice()));
        assert_eq!(target(&config), "h:1234/d");
        let connection = Connection { url: "postgres://u:s3cret@h/d".to_owned(), password: None };
        let found = place(&connection, "crm").unwrap();
        assert_eq!(found, Place { host: "h".to_owned(), port: 5432, database: "d".to_owned() });
        assert_eq!(major_version("15.13 (Debian 15.13-0)"), 15);
        assert_eq!(major_version("16beta1"), 16);
    }
}
