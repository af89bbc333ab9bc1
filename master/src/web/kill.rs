//! Ending an application from a page or a program. Edge; whether the caller may is decided in `lake_http` and `lake_api`.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{Html, IntoResponse, Redirect, Response};
use lake_api::application::Killed;
use lake_api::csrf::{self, Key};
use lake_api::failure::unknown_application;
use lake_http::{CSRF_HEADER, caller, status_of};
use lake_pages::TOKEN_FIELD;
use lake_proto::{ErrorClass, Fault};

use super::pages::{Relay, masthead};
use crate::at_leader::AtLeader;
use crate::master::Master;

/// The token that a form on a page needs in its field [`TOKEN_FIELD`] to end this application, at whichever master of the
/// group the form arrives. `None` while this master belongs to no group, and so knows no application.
pub(crate) fn kill_token(master: &Master, app_id: &str) -> Option<String> {
    key(master).map(|key| key.kill_token(app_id))
}

/// A form of a page: back to the page when the application was told to end.
pub(super) async fn by_form(
    State(master): State<Arc<Master>>,
    relayed: Relay,
    path: Result<Path<String>, PathRejection>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let Ok(Path(id)) = path else { return StatusCode::BAD_REQUEST.into_response() };
    match kill(&master, &id, &headers, csrf::token_of_form(&body, TOKEN_FIELD).as_deref()).await {
        Ok(killed) => Redirect::to(&format!("/applications/{}", killed.app_id)).into_response(),
        Err(fault) => {
            // Somebody who had the page open for long sees this.
            (status_of(fault.class), Html(lake_pages::refused(&fault.message).document(&masthead(&master, relayed))))
                .into_response()
        }
    }
}

/// Ends the application with this application, driver or submission id. `token` is that of a form; that of a script is in
/// a header.
///
/// # Errors
/// `denied` when another site's page asks, or one of ours without its token; `not-found` for an id that nobody knows;
/// `unavailable` without a leader.
pub(super) async fn kill(
    master: &Arc<Master>,
    id: &str,
    headers: &HeaderMap,
    token: Option<&str>,
) -> Result<Killed, Fault> {
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let who = caller(headers, host)?;
    let record = master.record(id).await.ok_or_else(|| unknown_application(id))?;
    let app_id = record.summary.app_id.as_str();
    let in_header = headers.get(&CSRF_HEADER).and_then(|token| token.to_str().ok());
    let admits = |token: &str| key(master).is_some_and(|key| key.admits_kill(app_id, token));
    if !who.may(token, in_header, admits) {
        let message = format!("the token to end {app_id} is missing or wrong: load its page again");
        return Err(Fault::new(ErrorClass::Denied, "csrf-token", message));
    }
    if record.summary.is_over() {
        return Ok(Killed::from(&record.summary));
    }
    Ok(AtLeader::find(master).await?.kill(app_id).await?.into())
}

fn key(master: &Master) -> Option<Key> {
    master.raft.group_key().map(|secret| Key::of(&secret))
}
