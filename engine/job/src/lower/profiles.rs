//! `[storage]` and `[connection]`: secrets are references, and nothing that may be one is shown. Pure.

use std::collections::BTreeMap;

use url::Url;

use super::Lowering;
use crate::document::{Node, Place};
use crate::errors::Code;
use crate::pipeline::{ConnectionProfile, Setting, StorageProfile};
use crate::{location, names, spec};

/// What a literal may be.
#[derive(Clone, Copy)]
enum Literal {
    Secret,
    Plain,
}

/// Storage profiles by normalised URL prefix.
pub(super) fn storage(
    written: &BTreeMap<String, spec::Storage>,
    section: Option<&Node>,
    lowering: &mut Lowering<'_>,
) -> BTreeMap<String, StorageProfile> {
    let mut profiles = BTreeMap::new();
    for entry in section.map_or(&[][..], Node::entries) {
        let Some(profile) = written.get(&entry.key) else { continue };
        let key = format!("storage.{:?}", entry.key);
        let prefix = location::resolve(&entry.key, &lowering.folder).ok().filter(|url| url.starts_with("s3://"));
        let Some(prefix) = prefix else {
            let message = "expected a URL prefix such as [storage.\"s3://bucket\"]";
            lowering.error(&entry.place, Code::InvalidUrl, &key, message);
            continue;
        };
        let prefix = prefix.trim_end_matches('/').to_owned();
        let options = storage_options(profile, &entry.node, &key, lowering);
        if profiles.insert(prefix.clone(), StorageProfile { options }).is_some() {
            lowering.error(
                &entry.place,
                Code::DuplicateName,
                &key,
                format!("'{prefix}' already has a storage profile"),
            );
        }
    }
    profiles
}

fn storage_options(
    profile: &spec::Storage,
    node: &Node,
    key: &str,
    lowering: &mut Lowering<'_>,
) -> BTreeMap<String, Setting> {
    let settings = [
        ("endpoint", &profile.endpoint, Literal::Plain),
        ("region", &profile.region, Literal::Plain),
        ("access_key_id", &profile.access_key_id, Literal::Secret),
        ("secret_access_key", &profile.secret_access_key, Literal::Secret),
        ("session_token", &profile.session_token, Literal::Secret),
    ];
    let mut options = BTreeMap::new();
    for (name, value, literal) in settings {
        let setting = value.as_ref().and_then(|value| setting(value, literal, node, key, name, lowering));
        options.extend(setting.map(|setting| (name.to_owned(), setting)));
    }
    for (name, flag) in [("allow_http", profile.allow_http), ("virtual_hosted_style", profile.virtual_hosted_style)] {
        options.extend(flag.map(|flag| (name.to_owned(), Setting::Literal(flag.to_string()))));
    }
    if let Some(Setting::Literal(endpoint)) = options.get("endpoint") {
        let url = Url::parse(endpoint).ok().filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
        let (place, key) = (node.place_of("endpoint"), format!("{key}.endpoint"));
        match url {
            None => lowering.error(place, Code::InvalidUrl, &key, "expected http://host:port or https://host:port"),
            Some(url) if has_password(&url) => {
                lowering.error(place, Code::LiteralSecret, &key, "a password must not be written in job.toml");
            }
            Some(url) if url.scheme() == "http" && profile.allow_http == Some(false) => {
                let message = "an http:// endpoint does not go with allow_http = false";
                lowering.error(place, Code::KeyCombination, &key, message);
            }
            Some(_) => {}
        }
    }
    options
}

/// Connection profiles by name.
pub(super) fn connections(
    written: &BTreeMap<String, spec::Connection>,
    section: Option<&Node>,
    lowering: &mut Lowering<'_>,
) -> BTreeMap<String, ConnectionProfile> {
    let mut profiles = BTreeMap::new();
    for entry in section.map_or(&[][..], Node::entries) {
        let Some(connection) = written.get(&entry.key) else { continue };
        let key = format!("connection.{}", entry.key);
        if !names::is_identifier(&entry.key) {
            let message = format!("'{}' is not a connection name: expected {}", entry.key, names::RULE);
            lowering.error(&entry.place, Code::InvalidName, &key, message);
        }
        let url = setting(&connection.url, Literal::Plain, &entry.node, &key, "url", lowering);
        if let Some(Setting::Literal(url)) = &url {
            check_postgres_url(url, entry.node.place_of("url"), &format!("{key}.url"), lowering);
        }
        let password = connection.password.as_ref();
        let password = password.and_then(|v| setting(v, Literal::Secret, &entry.node, &key, "password", lowering));
        let Some(url) = url else { continue };
        profiles.insert(entry.key.clone(), ConnectionProfile::Postgres { url, password });
    }
    profiles
}

fn check_postgres_url(text: &str, place: &Place, key: &str, lowering: &mut Lowering<'_>) {
    let url = Url::parse(text).ok().filter(|url| matches!(url.scheme(), "postgres" | "postgresql") && url.has_host());
    match url {
        None => {
            let message = "expected postgres://user@host:port/database, with the password under 'password'";
            lowering.error(place, Code::InvalidUrl, key, message);
        }
        Some(url) if has_password(&url) => {
            let message = "a password must not be written in job.toml: take it out of the URL and add \
                           password = { env = \"PGPASSWORD\" }, or take the whole URL from url = { env = \"...\" }";
            lowering.error(place, Code::LiteralSecret, key, message);
        }
        Some(_) => {}
    }
}

fn has_password(url: &Url) -> bool {
    url.password().is_some() || url.query_pairs().any(|(key, _)| key.to_ascii_lowercase().contains("password"))
}

fn setting(
    value: &spec::Value,
    literal: Literal,
    node: &Node,
    parent: &str,
    name: &str,
    lowering: &mut Lowering<'_>,
) -> Option<Setting> {
    let (place, key) = (node.place_of(name), format!("{parent}.{name}"));
    match (value, literal) {
        (spec::Value::Text(_), Literal::Secret) => {
            let variable = match name {
                "password" => "PGPASSWORD",
                "access_key_id" => "AWS_ACCESS_KEY_ID",
                "secret_access_key" => "AWS_SECRET_ACCESS_KEY",
                _ => "AWS_SESSION_TOKEN",
            };
            let message = format!(
                "a secret must not be written in job.toml: use {name} = {{ env = \"{variable}\" }} or \
                 {{ file = \"/run/secrets/{name}\" }}"
            );
            lowering.error(place, Code::LiteralSecret, &key, message);
            None
        }
        (spec::Value::Text(text), Literal::Plain) => Some(Setting::Literal(text.clone())),
        (spec::Value::Env(spec::EnvReference { env }), _) => {
            if env.is_empty() || env.contains(['=', '\0', ' ']) {
                let message = format!("expected the name of an environment variable, found '{env}'");
                lowering.error(place, Code::InvalidValue, &key, message);
            }
            Some(Setting::Env(env.clone()))
        }
        (spec::Value::File(spec::FileReference { file }), _) => {
            if !file.starts_with('/') {
                let message = format!("expected an absolute path: it is read where the job runs; found '{file}'");
                lowering.error(place, Code::InvalidValue, &key, message);
            }
            Some(Setting::File(file.clone()))
        }
    }
}
