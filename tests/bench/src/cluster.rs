//! Queries on the cluster, as a client-mode driver runs them. Edge.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use arrow::array::RecordBatch;
use datafusion::prelude::SessionContext;
use lake_engine::delta::{DeltaTable, DeltaTableProvider};
use lake_engine::driver::{Masters, estimated_scan_bytes, physical_plan};
use lake_engine::runner::cluster::ClusterRunner;
use lake_engine::runner::{Query, QueryRunner, fresh_query_id};
use lake_engine::session::{runtime, session};
use lake_engine::stores::{Profiles, Stores};
use lake_proto::v1;
use tokio::sync::{oneshot, watch};
use url::Url;

/// Several of them fit into [`lake_proto::DRIVER_SILENCE`].
const SIGN_OF_LIFE: Duration = Duration::from_secs(5);

/// A driver of this process.
pub(crate) struct Cluster {
    _alive: oneshot::Sender<()>,
    runner: ClusterRunner,
    session: SessionContext,
    masters: Masters,
    driver: v1::DriverIdentity,
}

impl Cluster {
    pub(crate) async fn attach(master: &str, tables: &Url, names: &[&str], cores: usize) -> anyhow::Result<Self> {
        let masters = Masters::new(master)?;
        let channel = masters.channel().await?;
        let options = v1::SubmitOptions {
            name: "bench".to_owned(),
            job_name: "bench".to_owned(),
            deploy_mode: "client".to_owned(),
            max_attempts: 1,
            ..v1::SubmitOptions::default()
        };
        let submission_id = uuid::Uuid::now_v7().to_string();
        let request = v1::SubmitRequest {
            submission_id,
            pipeline: "{}".into(),
            options: Some(options),
            ..v1::SubmitRequest::default()
        };
        let answer =
            v1::submissions_client::SubmissionsClient::new(channel.clone()).submit(request).await?.into_inner();
        let driver = v1::DriverIdentity { driver_id: answer.driver_id, epoch: answer.epoch };
        let start = v1::DriverStartRequest { driver: Some(driver.clone()) };
        v1::drivers_client::DriversClient::new(channel).start(start).await?;
        let stores = Arc::new(Stores::new(Profiles::default()));
        let runner = ClusterRunner::new(masters.clone(), driver.clone(), cores, stores.clone());
        let session = session(runner.session_config(), runtime(4 << 30, &std::env::temp_dir())?, stores.clone());
        for name in names {
            let url = Url::parse(&format!("{}/{name}", tables.as_str().trim_end_matches('/')))?;
            let snapshot = DeltaTable::open(&stores, &url).await?.with_context(|| format!("no table at {url}"))?;
            session.register_table(*name, Arc::new(DeltaTableProvider::new(snapshot)))?;
        }
        Ok(Self { _alive: stay_alive(Masters::new(master)?, driver.clone())?, runner, session, masters, driver })
    }

    pub(crate) async fn query(&self, sql: &str) -> anyhow::Result<Vec<RecordBatch>> {
        let frame = self.session.sql(sql).await?;
        let plan = physical_plan(&self.session, frame.logical_plan()).await?;
        let query = Query {
            id: fresh_query_id()?,
            label: "bench".to_owned(),
            estimated_scan_bytes: estimated_scan_bytes(&plan),
            plan,
            config: self.session.copied_config(),
        };
        let (progress, _watched) = watch::channel(Vec::new());
        Ok(self.runner.run(query, progress).await?)
    }

    pub(crate) async fn detach(self) -> anyhow::Result<()> {
        let channel = self.masters.channel().await?;
        let finish = v1::DriverFinishRequest { driver: Some(self.driver), failure: None };
        v1::drivers_client::DriversClient::new(channel).finish(finish).await?;
        Ok(())
    }
}

/// Tells the master that the driver lives until the answer is dropped, from a thread of its own: DataFusion keeps the
/// others busy for longer than a driver may be silent, connections made there included.
fn stay_alive(masters: Masters, driver: v1::DriverIdentity) -> anyhow::Result<oneshot::Sender<()>> {
    let (alive, mut over) = oneshot::channel();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    std::thread::Builder::new().name("sign-of-life".to_owned()).spawn(move || {
        runtime.block_on(async {
            while matches!(over.try_recv(), Err(oneshot::error::TryRecvError::Empty)) {
                let report =
                    v1::DriverProgressRequest { driver: Some(driver.clone()), ..v1::DriverProgressRequest::default() };
                // A master that does not answer is asked again; the next query says what is wrong.
                if let Ok(channel) = masters.channel().await {
                    let _ = v1::drivers_client::DriversClient::new(channel).report_progress(report).await;
                }
                let _ = tokio::time::timeout(SIGN_OF_LIFE, &mut over).await;
            }
        });
    })?;
    Ok(alive)
}
