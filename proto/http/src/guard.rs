//! What every request goes through before anybody looks at it (its host, the size of its body, its patience), and every
//! answer before it leaves. Edge.

use axum::Router;
use axum::body::{Body, HttpBody, to_bytes};
use axum::extract::{Request, State};
use axum::middleware::{Next, from_fn_with_state, map_response};
use axum::response::{IntoResponse, Response};
use http::header::{CONNECTION, CONTENT_LENGTH, HeaderValue};
use http::{StatusCode, Uri};
use lake_proto::{ErrorClass, Fault};
use tokio::time::timeout;

use crate::headers::forbid;
use crate::{Hosts, Limits};

/// What a request may be.
#[derive(Debug, Clone)]
pub struct Guard {
    /// The names that are answered to.
    pub hosts: Hosts,
    /// Paths that are answered under every name: probes and metrics are asked for by whatever name a scheduler has.
    pub any_host: &'static [&'static str],
    /// Of bodies.
    pub limits: Limits,
    /// The answer to a request that is refused; [`refusal_in_text`] is one.
    pub refusal: fn(&Uri, StatusCode, &Fault) -> Response,
}

/// The router behind the guard. Handlers get bodies that have arrived in full, and no answer, refusals included, is without
/// the headers that forbid what we never need.
pub fn harden(router: Router, guard: Guard) -> Router {
    router.layer(from_fn_with_state(guard, check)).layer(map_response(hardened))
}

async fn hardened(mut response: Response) -> Response {
    forbid(response.headers_mut());
    response
}

/// The HTTP status of an answer with this class.
pub fn status_of(class: ErrorClass) -> StatusCode {
    StatusCode::from_u16(class.http_status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}

/// A refusal as a line of text.
pub fn refusal_in_text(_: &Uri, status: StatusCode, fault: &Fault) -> Response {
    (status, format!("error[{}/{}]: {fault}\n", fault.class, fault.code)).into_response()
}

/// Whether what its `%` stand for is UTF-8.
fn is_text(path: &str) -> bool {
    let mut bytes = Vec::with_capacity(path.len());
    let mut rest = path.as_bytes();
    while let [first, after @ ..] = rest {
        let escaped = match (first, after) {
            (b'%', [high, low, after @ ..]) => hex(*high).zip(hex(*low)).map(|(high, low)| (high << 4 | low, after)),
            _ => None,
        };
        let (byte, after) = escaped.unwrap_or((*first, after));
        bytes.push(byte);
        rest = after;
    }
    std::str::from_utf8(&bytes).is_ok()
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

async fn check(State(guard): State<Guard>, request: Request, next: Next) -> Response {
    let refuse = |uri: &Uri, status: StatusCode, fault: &Fault| {
        let mut response = (guard.refusal)(uri, status, fault);
        // What is left of the request is not read.
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        response
    };
    let is_of_any_host = guard.any_host.contains(&request.uri().path());
    if !is_of_any_host && let Err(fault) = guard.hosts.check(request.headers()) {
        let status = match fault.class {
            ErrorClass::Denied => StatusCode::MISDIRECTED_REQUEST,
            _ => StatusCode::BAD_REQUEST,
        };
        return refuse(request.uri(), status, &fault);
    }
    if !is_text(request.uri().path()) {
        let fault = Fault::new(ErrorClass::InvalidJob, "path", "the path is not text in UTF-8");
        return refuse(request.uri(), StatusCode::BAD_REQUEST, &fault);
    }
    if request.body().is_end_stream() {
        return next.run(request).await;
    }
    let most = guard.limits.body_bytes;
    let declared = request.headers().get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
    let (parts, body) = request.into_parts();
    if declared.is_some_and(|length| length > most) {
        return refuse(&parts.uri, StatusCode::PAYLOAD_TOO_LARGE, &too_large(most));
    }
    match timeout(guard.limits.body, to_bytes(body, most)).await {
        Ok(Ok(bytes)) => next.run(Request::from_parts(parts, Body::from(bytes))).await,
        // It is longer than it said, or its sender broke off and does not read the answer.
        Ok(Err(_)) => refuse(&parts.uri, StatusCode::PAYLOAD_TOO_LARGE, &too_large(most)),
        Err(_) => {
            let message = format!("the body of the request did not arrive within {} s", guard.limits.body.as_secs());
            let fault = Fault::new(ErrorClass::Unavailable, "body-timeout", message);
            refuse(&parts.uri, StatusCode::REQUEST_TIMEOUT, &fault)
        }
    }
}

fn too_large(most: usize) -> Fault {
    let message = format!("the body of the request is too large: at most {most} bytes are accepted");
    Fault::new(ErrorClass::InvalidJob, "body-too-large", message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_class_has_a_status_that_http_does_not_know() {
        for class in ErrorClass::ALL {
            assert_eq!(status_of(class).as_u16(), class.http_status(), "{class}");
        }
    }
}
