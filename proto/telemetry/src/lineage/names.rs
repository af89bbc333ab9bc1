//! Names of data sets and runs, by OpenLineage's rules for names. Pure.

use sha2::{Digest, Sha256};
use url::Url;
use uuid::{Builder, Uuid};

/// Which data set it is, among all systems.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct DataSetName {
    /// Where it is: `s3://bucket`, `file`, `postgres://host:port`.
    pub namespace: String,
    /// Which one there: a path, or `database.schema.table`.
    pub name: String,
}

/// A table or files at a URL: `file:///a/b` is `/a/b` in `file`, `s3://bucket/a/b` is `a/b` in `s3://bucket`. What is not a
/// URL is its own name.
pub fn of_url(text: &str) -> DataSetName {
    let named = |namespace: String, name: &str| DataSetName { namespace, name: name.to_owned() };
    let Ok(url) = Url::parse(text) else { return named("file".to_owned(), text) };
    let path = url.path().trim_end_matches('/');
    match (url.scheme(), url.host_str()) {
        ("file", _) | (_, None) => named("file".to_owned(), if path.is_empty() { "/" } else { path }),
        (scheme, Some(host)) => {
            // Hadoop's names of the same store.
            let scheme = if scheme.starts_with("s3") { "s3" } else { scheme };
            let name = path.trim_start_matches('/');
            named(format!("{scheme}://{host}"), if name.is_empty() { "/" } else { name })
        }
    }
}

/// A relation of a PostgreSQL server. `relation` may lack its schema, which then is the server's default one.
pub fn of_postgres(host: &str, port: u16, database: &str, relation: &str) -> DataSetName {
    let relation = if relation.contains('.') { relation.to_owned() } else { format!("public.{relation}") };
    DataSetName { namespace: format!("postgres://{host}:{port}"), name: format!("{database}.{relation}") }
}

/// The id of a run that is known by these parts: the same wherever it is computed, so that every attempt of a run tells of
/// the same one.
pub fn run_id(parts: &[&str]) -> Uuid {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update(u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
        hash.update(part.as_bytes());
    }
    let mut bytes = [0; 16];
    for (byte, hashed) in bytes.iter_mut().zip(hash.finalize()) {
        *byte = hashed;
    }
    Builder::from_custom_bytes(bytes).into_uuid()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_sets_are_called_as_other_tools_call_them() {
        for (url, namespace, name) in [
            ("file:///lake/bronze/orders", "file", "/lake/bronze/orders"),
            ("file:///in/*.csv", "file", "/in/*.csv"),
            ("file:///", "file", "/"),
            ("s3://lakehouse/gold/a/", "s3://lakehouse", "gold/a"),
            ("s3a://lakehouse/gold/a", "s3://lakehouse", "gold/a"),
            ("s3://lakehouse", "s3://lakehouse", "/"),
            ("not a url", "file", "not a url"),
        ] {
            assert_eq!(of_url(url), DataSetName { namespace: namespace.to_owned(), name: name.to_owned() }, "{url}");
        }
        let name = of_postgres("db", 5432, "crm", "customers");
        assert_eq!((name.namespace.as_str(), name.name.as_str()), ("postgres://db:5432", "crm.public.customers"));
        assert_eq!(of_postgres("db", 5432, "crm", "sales.customers").name, "crm.sales.customers");
    }

    #[test]
    fn a_run_has_one_id_wherever_it_is_computed() {
        let id = run_id(&["retail", "17", "a.b"]);
        assert_eq!(id, run_id(&["retail", "17", "a.b"]));
        assert_ne!(id, run_id(&["retail", "17", "a.c"]));
        assert_ne!(run_id(&["ab", "c"]), run_id(&["a", "bc"]));
        assert_eq!(id.get_version_num(), 8);
    }
}
