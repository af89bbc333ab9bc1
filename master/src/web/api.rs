//! `/api/v1`: JSON, fields are added and never removed. Edge: fetches, calls `lake_api`, answers.
//!
//! Each room has the endpoints of one entity. An [`Endpoint`] is a handler with its description, and both the router and the
//! OpenAPI document are made of the same ones.

mod applications;
mod cluster;
mod endpoint;
mod records;
mod stages;
mod tables;

use std::sync::Arc;

use axum::Router;
use axum::extract::OriginalUri;
use axum::http::{Method, StatusCode};
use axum::response::Response;
use axum::routing::get;
use lake_api::failure::{Failure, unknown_path, wrong_method};
use lake_api::openapi::{self, Operation};
use lake_http::status_of;
use lake_proto::Fault;

use self::endpoint::{Endpoint, bytes};
use crate::master::Master;

const JSON: &str = "application/json";

pub(super) fn router() -> Router<Arc<Master>> {
    let mut router = Router::new();
    let mut operations = Vec::new();
    for endpoint in endpoints() {
        let Endpoint { operation, route } = endpoint;
        router = router.route(operation.path, route);
        operations.push(operation);
    }
    let document = axum::body::Bytes::from(document(&operations));
    router
        .route("/openapi.json", get(move || std::future::ready(bytes(StatusCode::OK, JSON, document.clone()))))
        .method_not_allowed_fallback(wrong_verb)
        .fallback(unknown)
}

async fn wrong_verb(OriginalUri(uri): OriginalUri, method: Method) -> Response {
    failed_as(StatusCode::METHOD_NOT_ALLOWED, &wrong_method(method.as_str(), uri.path()))
}

/// What is answered at paths that are none of the API.
pub(super) async fn unknown(OriginalUri(uri): OriginalUri) -> Response {
    failed(&unknown_path(uri.path()))
}

fn endpoints() -> Vec<Endpoint> {
    let mut endpoints = cluster::endpoints();
    endpoints.extend(applications::endpoints());
    endpoints.extend(stages::endpoints());
    endpoints.extend(tables::endpoints());
    endpoints.extend(records::endpoints());
    endpoints
}

fn document(operations: &[Operation]) -> String {
    openapi::document(env!("CARGO_PKG_VERSION"), operations).to_string()
}

pub(super) fn failed(fault: &Fault) -> Response {
    failed_as(status_of(fault.class), fault)
}

/// A failure with a status that its class does not have.
pub(super) fn failed_as(status: StatusCode, fault: &Fault) -> Response {
    // Texts alone: it has a JSON form.
    let body = serde_json::to_vec(&Failure::from(fault)).unwrap_or_default();
    bytes(status, JSON, body.into())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_endpoint_is_in_the_document_once() {
        let endpoints = endpoints();
        let keys: BTreeSet<(&str, &str)> =
            endpoints.iter().map(|endpoint| (endpoint.operation.method, endpoint.operation.path)).collect();
        assert_eq!(keys.len(), endpoints.len());
        let operations: Vec<Operation> = endpoints.into_iter().map(|endpoint| endpoint.operation).collect();
        let document: serde_json::Value = serde_json::from_str(&document(&operations)).unwrap();
        for operation in &operations {
            let documented = &document["paths"][format!("/api/v1{}", operation.path)][operation.method];
            assert_eq!(documented["summary"], operation.about, "{}", operation.path);
        }
        // Two routes that a path could mean would end the process here.
        let _ = router();
    }
}
