//! The leader's pages for the visitors of other masters. Edge.

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{Request as HttpRequest, header};
use lake_proto::channel::MAX_MESSAGE_BYTES;
use lake_proto::v1;
use lake_proto::v1::pages_server::Pages;
use tonic::codegen::Service as _;
use tonic::{Request, Response, Status};

use super::invalid;
use crate::web::{RELAYED_HEADERS, Relayed};

pub(super) struct Service {
    pages: Router,
}

impl Service {
    pub(super) const fn new(pages: Router) -> Self {
        Self { pages }
    }
}

#[tonic::async_trait]
impl Pages for Service {
    async fn get(&self, request: Request<v1::PageRequest>) -> Result<Response<v1::PageResponse>, Status> {
        let v1::PageRequest { path_and_query: path, relay_id } = request.into_inner();
        let mut wanted = HttpRequest::get(&path);
        if relay_id > 0 {
            wanted = wanted.extension(Relayed { by: relay_id });
        }
        let wanted = wanted.body(Body::empty());
        let wanted = wanted.map_err(|error| invalid(format!("'{path}' is not a path: {error}")))?;
        let answer = match self.pages.clone().call(wanted).await {
            Ok(answer) => answer,
            Err(never) => match never {},
        };
        let status = u32::from(answer.status().as_u16());
        let content_type = answer.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let content_type = content_type.unwrap_or_default().to_owned();
        let header = |name: &&'static str| {
            let value = answer.headers().get(*name)?.to_str().ok()?;
            Some(v1::Header { name: (*name).to_owned(), value: value.to_owned() })
        };
        let headers = RELAYED_HEADERS.iter().filter_map(header).collect();
        let body = to_bytes(answer.into_body(), MAX_MESSAGE_BYTES).await;
        let body = body.map_err(|error| Status::internal(format!("the page could not be read: {error}")))?;
        Ok(Response::new(v1::PageResponse { status, content_type, body, headers }))
    }
}
