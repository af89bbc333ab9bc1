//! A master that does not lead shows the leader's pages: only the leader knows what runs. Edge.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::Response;
use lake_proto::channel::{MAX_MESSAGE_BYTES, connect};
use lake_proto::masters::LEADER_HEADER;
use lake_proto::v1::pages_client::PagesClient;
use lake_proto::{Fault, v1};
use lake_raft::Role;

use crate::master::Master;

/// What every master answers for itself, beside the files of its pages.
const OWN: [&str; 7] = [
    "/healthz",
    "/readyz",
    "/metrics",
    lake_metrics::spark::MASTER_PATH,
    "/api/v1/version",
    lake_pages::route::EVENTS,
    super::environment::OWN,
];
const PATIENCE: Duration = Duration::from_secs(3);
/// Logs come from the workers first.
const PATIENCE_WITH_LOGS: Duration = Duration::from_secs(60);
/// Beside the content type, what a visitor must get of the leader's answer.
pub(crate) const RELAYED_HEADERS: [&str; 3] = ["allow", "content-disposition", "x-total-count"];

/// Marks a request that another master makes for its visitor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Relayed {
    /// That master's number.
    pub(crate) by: u64,
}

/// Answers with the leader's page, or, when there is no leader, with what this master knows itself. The leader writes into
/// its page for whom it is; a header says whose answer it is to those who read no pages.
pub(super) async fn relay(State(master): State<Arc<Master>>, request: Request, next: Next) -> Response {
    let is_own = is_own(request.method(), request.uri().path()) || master.raft.status().role == Role::Leader;
    let Some(leader) = master.raft.leader_address().filter(|_| !is_own) else { return next.run(request).await };
    let path = request.uri().path_and_query().map_or("/", |path| path.as_str()).to_owned();
    let patience = if request.uri().path().ends_with("/logs") { PATIENCE_WITH_LOGS } else { PATIENCE };
    match tokio::time::timeout(patience, fetch(&leader, path, master.id)).await {
        Ok(Ok(page)) => answer(page, &leader),
        Ok(Err(fault)) => {
            tracing::debug!(leader, "the leader's page could not be fetched: {fault}");
            next.run(request).await
        }
        Err(_) => next.run(request).await,
    }
}

/// The leader answers only what is read.
fn is_own(method: &Method, path: &str) -> bool {
    let is_read = *method == Method::GET || *method == Method::HEAD;
    !is_read || OWN.contains(&path) || lake_pages::assets().any(|asset| asset.path == path)
}

/// What the master at this address answers; `relay_id` 0 = for nobody but this master.
pub(super) async fn fetch(address: &str, path_and_query: String, relay_id: u64) -> Result<v1::PageResponse, Fault> {
    let mut pages = PagesClient::new(connect(address).await?).max_decoding_message_size(MAX_MESSAGE_BYTES);
    Ok(pages.get(v1::PageRequest { path_and_query, relay_id }).await?.into_inner())
}

fn answer(page: v1::PageResponse, leader: &str) -> Response {
    let mut response = Response::new(Body::from(page.body));
    let status = u16::try_from(page.status).ok().and_then(|status| StatusCode::from_u16(status).ok());
    *response.status_mut() = status.unwrap_or(StatusCode::BAD_GATEWAY);
    if let Ok(content_type) = HeaderValue::from_str(&page.content_type) {
        response.headers_mut().insert(header::CONTENT_TYPE, content_type);
    }
    for name in RELAYED_HEADERS {
        let given = page.headers.iter().find(|header| header.name == name);
        if let Some(value) = given.and_then(|header| HeaderValue::from_str(&header.value).ok()) {
            response.headers_mut().insert(HeaderName::from_static(name), value);
        }
    }
    if let Ok(leader) = HeaderValue::from_str(leader) {
        response.headers_mut().insert(LEADER_HEADER, leader);
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_master_answers_for_itself_what_is_about_itself_and_what_is_not_read() {
        for path in [
            "/healthz",
            "/readyz",
            "/metrics",
            "/metrics/master/prometheus",
            "/api/v1/version",
            "/style.css",
            "/drawing.css",
            "/follow.js",
            "/favicon.ico",
            "/events",
            "/environment/own",
        ] {
            assert!(is_own(&Method::GET, path), "{path}");
        }
        for path in ["/", "/applications/app-1", "/tables", "/environment", "/api/v1/workers", "/no-such-page"] {
            assert!(!is_own(&Method::GET, path) && !is_own(&Method::HEAD, path), "{path}");
            assert!(is_own(&Method::POST, path), "{path}");
        }
    }

    #[test]
    fn an_answer_of_the_leader_keeps_its_status_and_names_it() {
        let header = |name: &str| v1::Header { name: name.to_owned(), value: "7".to_owned() };
        let headers = vec![header("x-total-count"), header("set-cookie")];
        let page = v1::PageResponse { status: 404, content_type: "text/html".to_owned(), body: "x".into(), headers };
        let response = answer(page, "h2:7077");
        assert_eq!(response.status(), StatusCode::NOT_FOUND);
        assert_eq!(response.headers().get(LEADER_HEADER).unwrap(), "h2:7077");
        assert_eq!(response.headers().get("x-total-count").unwrap(), "7");
        assert!(!response.headers().contains_key("set-cookie"));
    }
}
