//! Connections to other workers' Flight services, kept for the next fetch. Edge.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use ballista_core::client::BallistaClient;
use ballista_core::client_pool::{BallistaClientPool, PooledClient};
use ballista_core::error::Result;
use ballista_core::extension::BallistaConfigGrpcEndpoint;
use ballista_core::utils::GrpcClientConfig;

const IDLE_LIMIT: Duration = Duration::from_secs(30);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
const KEEP_ALIVE: Duration = Duration::from_secs(5);

type Key = (String, u16, GrpcClientConfig);
type Idle = HashMap<Key, Vec<(Instant, BallistaClient)>>;

/// The pool all tasks of a worker share. A client serves one fetch at a time.
#[derive(Default, Clone)]
pub(super) struct Clients {
    idle: Arc<Mutex<Idle>>,
}

impl fmt::Debug for Clients {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Clients").finish_non_exhaustive()
    }
}

impl Clients {
    fn lock(&self) -> MutexGuard<'_, Idle> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn forget_old(&self) {
        let now = Instant::now();
        self.lock().retain(|_, clients| {
            clients.retain(|(since, _)| now.duration_since(*since) < IDLE_LIMIT);
            !clients.is_empty()
        });
    }
}

#[async_trait]
impl BallistaClientPool for Clients {
    async fn acquire(
        &self,
        host: &str,
        port: u16,
        config: &GrpcClientConfig,
        _: Option<Arc<BallistaConfigGrpcEndpoint>>,
    ) -> Result<PooledClient> {
        self.forget_old();
        let key = (host.to_owned(), port, config.clone());
        let idle = self.lock().get_mut(&key).and_then(Vec::pop);
        let client = match idle {
            Some((_, client)) => client,
            None => connect(host, port, config).await?,
        };
        let pool = self.clone();
        let give_back = move |client| pool.lock().entry(key).or_default().push((Instant::now(), client));
        Ok(PooledClient::new(client, Box::new(give_back)))
    }

    async fn evict_idle(&self) {
        self.forget_old();
    }
}

async fn connect(host: &str, port: u16, config: &GrpcClientConfig) -> Result<BallistaClient> {
    // Without these a worker whose host is gone is noticed only after minutes.
    let bounded = BallistaConfigGrpcEndpoint::new(Arc::new(|endpoint| {
        Ok(endpoint
            .connect_timeout(CONNECT_TIMEOUT)
            .tcp_nodelay(true)
            .http2_keep_alive_interval(KEEP_ALIVE)
            .keep_alive_timeout(KEEP_ALIVE))
    }));
    BallistaClient::try_new(
        host,
        port,
        config.max_message_size.max(lake_proto::channel::MAX_MESSAGE_BYTES),
        config.use_tls,
        Some(Arc::new(bounded)),
        config.io_retries_times,
        config.io_retry_wait_time_ms,
        config.initial_connection_window_size,
        config.initial_stream_window_size,
    )
    .await
}
