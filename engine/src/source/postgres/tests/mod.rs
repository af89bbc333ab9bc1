//! The source against a real server.

mod faults;
mod reading;
mod server;
mod values;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::Int64Type;
use datafusion::prelude::SessionContext;
use lake_job::{ConnectionProfile, PostgresSource, Relation, Setting};

use self::server::Server;
use super::{PostgresProvider, provider};
use crate::stores::{Profiles, Stores};
use crate::{EngineError, Result, session};

/// A database of its own at a server.
struct Database {
    server: Arc<Server>,
    name: String,
    stores: Arc<Stores>,
}

impl Database {
    /// A fresh database at the shared server, filled by `sql`.
    fn new(sql: &str) -> Self {
        Self::at(Server::shared(), sql)
    }

    fn at(server: Arc<Server>, sql: &str) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("test_{}", NEXT.fetch_add(1, Ordering::Relaxed));
        server.psql("postgres", &format!("CREATE DATABASE {name}"));
        server.psql(&name, sql);
        let stores = stores(&server.url(&name));
        Self { server, name, stores }
    }

    fn psql(&self, sql: &str) -> Vec<Vec<Option<String>>> {
        self.server.psql(&self.name, sql)
    }

    fn value(&self, sql: &str) -> String {
        self.server.value(&self.name, sql)
    }

    async fn provider(&self, source: &PostgresSource) -> Result<PostgresProvider> {
        provider(Arc::clone(&self.stores), "src_under_test", source).await
    }

    /// A session in which the source is the table `t`.
    fn session(&self, provider: PostgresProvider) -> SessionContext {
        let context = SessionContext::new_with_config(session::local_config(4).with_extension(self.stores.clone()));
        context.register_table("t", Arc::new(provider)).unwrap();
        context
    }

    /// The rows of `sql` over the source as table `t`.
    async fn query(&self, source: &PostgresSource, sql: &str) -> Result<Vec<RecordBatch>> {
        let context = self.session(self.provider(source).await?);
        Ok(context.sql(sql).await?.collect().await?)
    }

    /// The integers of a query with one row.
    async fn integers(&self, source: &PostgresSource, sql: &str) -> Vec<i64> {
        integers(&self.query(source, sql).await.unwrap())
    }
}

fn stores(url: &str) -> Arc<Stores> {
    let profile = ConnectionProfile::Postgres { url: Setting::Literal(url.to_owned()), password: None };
    let connections = BTreeMap::from([("crm".to_owned(), profile)]);
    Arc::new(Stores::new(Profiles { connections, ..Profiles::default() }))
}

fn table(name: &str) -> PostgresSource {
    PostgresSource {
        connection: "crm".to_owned(),
        relation: Relation::Table(name.to_owned()),
        partition_by: None,
        partitions: 1,
    }
}

fn query(sql: &str) -> PostgresSource {
    PostgresSource { relation: Relation::Query(sql.to_owned()), ..table("") }
}

/// The source in ranges of a key.
fn by(source: PostgresSource, key: &str, partitions: u32) -> PostgresSource {
    PostgresSource { partition_by: Some(key.to_owned()), partitions, ..source }
}

/// The source in ranges of pages.
fn paged(source: PostgresSource, partitions: u32) -> PostgresSource {
    PostgresSource { partitions, ..source }
}

fn integers(batches: &[RecordBatch]) -> Vec<i64> {
    let batch = batches.iter().find(|batch| batch.num_rows() > 0).expect("a row");
    let integer = |column: &Arc<dyn Array>| {
        let column = arrow::compute::cast(column, &arrow::datatypes::DataType::Int64).unwrap();
        column.as_primitive::<Int64Type>().value(0)
    };
    batch.columns().iter().map(integer).collect()
}

fn rows(batches: &[RecordBatch]) -> usize {
    batches.iter().map(RecordBatch::num_rows).sum()
}

/// The error of something that must fail.
fn failure<T>(result: Result<T>) -> EngineError {
    match result {
        Ok(_) => panic!("it succeeded"),
        Err(error) => error,
    }
}
