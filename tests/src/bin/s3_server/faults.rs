//! Faults on the way to the store and back, drawn from a seed: delays, refusals, broken connections, half bodies, and
//! requests that are carried out without an answer. Every fault that fires is a line in a file.

use std::fs::File;
use std::io::{Error, Write};
use std::path::Path;
use std::pin::Pin;
use std::str::FromStr;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context as TaskContext, Poll};
use std::time::Duration;

use anyhow::{Context, Result};
use http::{Request, Response, StatusCode};
use http_body::{Body as HttpBody, Frame, SizeHint};
use hyper::body::{Bytes, Incoming};
use hyper::service::Service;
use s3s::Body;
use s3s::service::S3Service;

/// What may happen to a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Carried out; then the connection is closed without an answer.
    Lost,
    /// Carried out; then answered with 500.
    Lost500,
    /// Not carried out; 503 SlowDown.
    SlowDown,
    /// Not carried out; 500 InternalError.
    Error,
    /// Not carried out; 409 ConditionalRequestConflict, as S3 says when two conditional puts meet.
    Conflict,
    /// Not carried out; 403 ExpiredToken.
    Expired,
    /// Not carried out; the connection is closed.
    Reset,
    /// Carried out after this time.
    Delay(Duration),
    /// Half of the answer's body, then the connection is closed.
    Truncated,
}

/// `KIND:METHOD:PATH:PROBABILITY[:TIMES]`, for example `lost:PUT:/_delta_log/:0.5`. METHOD and PATH may be `*`; PATH is
/// any part of the request's; TIMES bounds how often it fires.
#[derive(Debug, Clone)]
pub(crate) struct Rule {
    name: String,
    kind: Kind,
    method: String,
    path: String,
    per_million: u64,
    left: u64,
}

impl FromStr for Rule {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        let fields: Vec<&str> = text.split(':').collect();
        let [name, method, path, probability, times @ ..] = fields.as_slice() else {
            anyhow::bail!("'{text}' is not KIND:METHOD:PATH:PROBABILITY[:TIMES]");
        };
        let kind = match *name {
            "lost" => Kind::Lost,
            "lost-500" => Kind::Lost500,
            "slow-down" => Kind::SlowDown,
            "error" => Kind::Error,
            "conflict" => Kind::Conflict,
            "expired" => Kind::Expired,
            "reset" => Kind::Reset,
            "truncated" => Kind::Truncated,
            delay => {
                let ms = delay.strip_prefix("delay-").context("an unknown kind of fault")?.parse()?;
                Kind::Delay(Duration::from_millis(ms))
            }
        };
        let probability: f64 = probability.parse()?;
        anyhow::ensure!((0.0..=1.0).contains(&probability), "'{probability}' is not a probability");
        // Between 0 and a million, so nothing is lost.
        let per_million = format!("{:.0}", probability * 1e6).parse()?;
        let left = times.first().map_or(Ok(u64::MAX), |times| times.parse())?;
        let (name, method, path) = ((*name).to_owned(), (*method).to_owned(), (*path).to_owned());
        Ok(Self { name, kind, method, path, per_million, left })
    }
}

struct Dice {
    rules: Vec<Rule>,
    state: u64,
    fired: Option<File>,
}

impl Dice {
    /// The first rule that fits and fires. Every fitting rule takes one number, so that the seed decides.
    fn throw(&mut self, method: &str, path: &str) -> Option<Kind> {
        for rule in &mut self.rules {
            let fits = (rule.method == "*" || rule.method == method) && (rule.path == "*" || path.contains(&rule.path));
            if !fits || rule.left == 0 {
                continue;
            }
            self.state ^= self.state >> 12;
            self.state ^= self.state << 25;
            self.state ^= self.state >> 27;
            if (self.state.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) % 1_000_000 < rule.per_million {
                rule.left -= 1;
                if let Some(file) = &mut self.fired {
                    // Without the line a test fails, which is right.
                    let _ = writeln!(file, "{} {method} {path}", rule.name);
                }
                return Some(rule.kind);
            }
        }
        None
    }
}

/// The store behind its faults.
#[derive(Clone)]
pub(crate) struct Faulty {
    service: S3Service,
    dice: Arc<Mutex<Dice>>,
}

impl Faulty {
    pub(crate) fn new(service: S3Service, rules: Vec<Rule>, seed: u64, log: Option<&Path>) -> Result<Self> {
        let fired = log.map(File::create).transpose()?;
        let dice = Dice { rules, state: seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1, fired };
        Ok(Self { service, dice: Arc::new(Mutex::new(dice)) })
    }
}

impl Service<Request<Incoming>> for Faulty {
    type Response = Response<Answer>;
    type Error = Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Error>> + Send>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        let (method, path) = (request.method().as_str(), request.uri().path());
        let fault = self.dice.lock().unwrap_or_else(PoisonError::into_inner).throw(method, path);
        let service = self.service.clone();
        Box::pin(async move {
            match fault {
                Some(Kind::SlowDown) => return Ok(refusal(StatusCode::SERVICE_UNAVAILABLE, "SlowDown")),
                Some(Kind::Error) => return Ok(refusal(StatusCode::INTERNAL_SERVER_ERROR, "InternalError")),
                Some(Kind::Conflict) => return Ok(refusal(StatusCode::CONFLICT, "ConditionalRequestConflict")),
                Some(Kind::Expired) => return Ok(refusal(StatusCode::FORBIDDEN, "ExpiredToken")),
                Some(Kind::Reset) => return Err(Error::other("closed before the request was carried out")),
                Some(Kind::Delay(time)) => tokio::time::sleep(time).await,
                Some(Kind::Lost | Kind::Lost500 | Kind::Truncated) | None => {}
            }
            let answer = Service::call(&service, request).await.map_err(|error| Error::other(format!("{error:?}")))?;
            match fault {
                Some(Kind::Lost) => Err(Error::other("closed before the answer")),
                Some(Kind::Lost500) => Ok(refusal(StatusCode::INTERNAL_SERVER_ERROR, "InternalError")),
                Some(Kind::Truncated) => Ok(answer.map(|body| {
                    let left = HttpBody::size_hint(&body).exact().unwrap_or(0) / 2;
                    Answer { body, left: Some(left) }
                })),
                _ => Ok(answer.map(|body| Answer { body, left: None })),
            }
        })
    }
}

fn refusal(status: StatusCode, code: &str) -> Response<Answer> {
    let text = format!("<?xml version=\"1.0\"?><Error><Code>{code}</Code><Message>a fault</Message></Error>");
    let mut response = Response::new(Answer { body: Body::from(text), left: None });
    *response.status_mut() = status;
    response
}

/// A body that may end early.
pub(crate) struct Answer {
    body: Body,
    /// Bytes until the connection breaks.
    left: Option<u64>,
}

impl HttpBody for Answer {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut TaskContext<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        if self.left == Some(0) {
            return Poll::Ready(Some(Err(Error::other("half of the body is missing"))));
        }
        let frame = match Pin::new(&mut self.body).poll_frame(context) {
            Poll::Ready(Some(Ok(frame))) => frame,
            Poll::Ready(Some(Err(error))) => return Poll::Ready(Some(Err(Error::other(error.to_string())))),
            Poll::Ready(None) => return Poll::Ready(None),
            Poll::Pending => return Poll::Pending,
        };
        let Some(left) = self.left else { return Poll::Ready(Some(Ok(frame))) };
        let Ok(data) = frame.into_data() else { return Poll::Ready(None) };
        let taken = usize::try_from(left).unwrap_or(usize::MAX).min(data.len());
        self.left = Some(left.saturating_sub(taken as u64));
        Poll::Ready(Some(Ok(Frame::data(data.slice(..taken)))))
    }

    fn is_end_stream(&self) -> bool {
        self.left.is_none() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        HttpBody::size_hint(&self.body)
    }
}
