//! A master that does not lead shows the leader's pages: only the leader knows what runs. Edge.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::Response;
use lake_proto::channel::{MAX_MESSAGE_BYTES, connect};
use lake_proto::v1::pages_client::PagesClient;
use lake_proto::{Fault, v1};
use lake_raft::Role;

use crate::master::Master;

/// What every master answers for itself.
const OWN: [&str; 3] = ["/healthz", "/readyz", "/metrics"];
const PATIENCE: Duration = Duration::from_secs(3);

/// Answers with the leader's page, or, when there is no leader, with what this master knows itself.
pub(super) async fn relay(State(master): State<Arc<Master>>, request: Request, next: Next) -> Response {
    let is_own = OWN.contains(&request.uri().path()) || master.raft.status().role == Role::Leader;
    let Some(leader) = master.raft.leader_address().filter(|_| !is_own) else { return next.run(request).await };
    let path = request.uri().path_and_query().map_or("/", |path| path.as_str()).to_owned();
    match tokio::time::timeout(PATIENCE, fetch(&leader, path)).await {
        Ok(Ok(page)) => answer(page),
        Ok(Err(fault)) => {
            tracing::debug!(leader, "the leader's page could not be fetched: {fault}");
            next.run(request).await
        }
        Err(_) => next.run(request).await,
    }
}

async fn fetch(leader: &str, path_and_query: String) -> Result<v1::PageResponse, Fault> {
    let mut pages = PagesClient::new(connect(leader).await?).max_decoding_message_size(MAX_MESSAGE_BYTES);
    Ok(pages.get(v1::PageRequest { path_and_query }).await?.into_inner())
}

fn answer(page: v1::PageResponse) -> Response {
    let mut response = Response::new(Body::from(page.body));
    let status = u16::try_from(page.status).ok().and_then(|status| StatusCode::from_u16(status).ok());
    *response.status_mut() = status.unwrap_or(StatusCode::BAD_GATEWAY);
    if let Ok(content_type) = HeaderValue::from_str(&page.content_type) {
        response.headers_mut().insert(header::CONTENT_TYPE, content_type);
    }
    response
}
