//! A handler with its description. Edge.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, RawQuery, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::Response;
use axum::routing::{MethodRouter, get, post};
use lake_api::Part;
use lake_api::openapi::{Answer as Described, Operation};
use lake_api::parameter::{Parameter, Query};
use lake_proto::{ErrorClass, Fault};
use schemars::JsonSchema;
use serde::Serialize;

use super::{JSON, failed};
use crate::master::Master;

/// How many there are, on all pages.
const TOTAL: &str = "x-total-count";

/// One path and verb.
pub(super) struct Endpoint {
    pub(super) operation: Operation,
    pub(super) route: MethodRouter<Arc<Master>>,
}

/// A request, taken apart.
pub(super) struct Call {
    pub(super) master: Arc<Master>,
    pub(super) query: Query,
    pub(super) headers: HeaderMap,
    parts: BTreeMap<String, String>,
}

/// What a handler answers with.
pub(super) struct Answer<T> {
    body: T,
    /// How long the whole list is, of which the body is a part.
    total: Option<usize>,
}

/// A file.
pub(super) struct Download {
    pub(super) name: String,
    pub(super) content: Vec<u8>,
}

type Parts = Result<Path<BTreeMap<String, String>>, PathRejection>;
type Taken = (State<Arc<Master>>, Parts, RawQuery, HeaderMap);

impl Endpoint {
    /// A `GET` that answers JSON: the document has the schema of what `handler` answers.
    pub(super) fn get<T, F>(
        path: &'static str,
        about: &'static str,
        parameters: &'static [Parameter],
        handler: fn(Call) -> F,
    ) -> Self
    where
        T: Serialize + JsonSchema + Send + 'static,
        F: Future<Output = Result<Answer<T>, Fault>> + Send + 'static,
    {
        let operation = Operation { method: "get", path, about, parameters, answer: Described::json::<T>() };
        let answer = move |master, parts: Parts, query, headers| respond((master, parts, query, headers), handler);
        Self { operation, route: get(answer) }
    }

    /// A `POST` that answers JSON.
    pub(super) fn post<T, F>(path: &'static str, about: &'static str, handler: fn(Call) -> F) -> Self
    where
        T: Serialize + JsonSchema + Send + 'static,
        F: Future<Output = Result<Answer<T>, Fault>> + Send + 'static,
    {
        let operation = Operation { method: "post", path, about, parameters: &[], answer: Described::json::<T>() };
        let answer = move |master, parts: Parts, query, headers| respond((master, parts, query, headers), handler);
        Self { operation, route: post(answer) }
    }

    /// A `GET` of a file of this type.
    pub(super) fn download<F>(
        path: &'static str,
        about: &'static str,
        content_type: &'static str,
        handler: fn(Call) -> F,
    ) -> Self
    where
        F: Future<Output = Result<Download, Fault>> + Send + 'static,
    {
        let operation =
            Operation { method: "get", path, about, parameters: &[], answer: Described::Bytes(content_type) };
        let answer = move |master, parts: Parts, query, headers| async move {
            match Call::of((master, parts, query, headers)) {
                Ok(call) => downloaded(content_type, handler(call).await),
                Err(fault) => failed(&fault),
            }
        };
        Self { operation, route: get(answer) }
    }
}

impl Call {
    fn of((State(master), parts, RawQuery(query), headers): Taken) -> Result<Self, Fault> {
        let Path(parts) = parts.map_err(|error| {
            Fault::new(ErrorClass::InvalidJob, "parameter", format!("the path cannot be read: {}", error.body_text()))
        })?;
        Ok(Self { master, query: Query::of(&query.unwrap_or_default()), headers, parts })
    }

    /// The part of the path that is called `name` in its description.
    pub(super) fn part(&self, name: &str) -> &str {
        self.parts.get(name).map_or("", String::as_str)
    }
}

impl<T> Answer<T> {
    pub(super) const fn new(body: T) -> Self {
        Self { body, total: None }
    }

    pub(super) const fn of(body: T, total: usize) -> Self {
        Self { body, total: Some(total) }
    }
}

impl<T> From<Part<T>> for Answer<Vec<T>> {
    fn from(part: Part<T>) -> Self {
        Self { body: part.items, total: Some(part.total) }
    }
}

/// Work that takes long enough to keep others waiting.
pub(super) async fn computed<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Fault> + Send + 'static,
) -> Result<T, Fault> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|error| Err(internal(format!("an answer was not computed: {error}"))))
}

fn downloaded(content_type: &'static str, download: Result<Download, Fault>) -> Response {
    let Download { name, content } = match download {
        Ok(download) => download,
        Err(fault) => return failed(&fault),
    };
    let mut response = bytes(StatusCode::OK, content_type, content.into());
    if let Ok(disposition) = HeaderValue::from_str(&format!("attachment; filename=\"{name}\"")) {
        response.headers_mut().insert(header::CONTENT_DISPOSITION, disposition);
    }
    response
}

async fn respond<T, F>(taken: Taken, handler: fn(Call) -> F) -> Response
where
    T: Serialize + Send + 'static,
    F: Future<Output = Result<Answer<T>, Fault>> + Send + 'static,
{
    match answered(taken, handler).await {
        Ok((body, total)) => {
            let mut response = bytes(StatusCode::OK, JSON, body.into());
            if let Some(total) = total {
                response.headers_mut().insert(TOTAL, HeaderValue::from(total));
            }
            response
        }
        Err(fault) => failed(&fault),
    }
}

async fn answered<T, F>(taken: Taken, handler: fn(Call) -> F) -> Result<(Vec<u8>, Option<usize>), Fault>
where
    T: Serialize + Send + 'static,
    F: Future<Output = Result<Answer<T>, Fault>> + Send + 'static,
{
    let Answer { body, total } = handler(Call::of(taken)?).await?;
    let written =
        move || serde_json::to_vec(&body).map_err(|error| internal(format!("an answer has no JSON form: {error}")));
    Ok((computed(written).await?, total))
}

/// An answer of this type.
pub(super) fn bytes(status: StatusCode, content_type: &'static str, body: Bytes) -> Response {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

fn internal(message: String) -> Fault {
    Fault::new(ErrorClass::Internal, "internal", message)
}
