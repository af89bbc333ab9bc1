//! Whether a bucket is there, told by the status of a listing, and whether its name can be one, told by the code of a
//! refusal. Edge.
//!
//! A store answers a listing with 404 only when the bucket is missing; without objects the list is empty. To a name
//! that it takes for no bucket's it answers any call with 400 and S3's code for that. The client keeps both to itself and
//! calls them failures like any other, which would be tried again for nothing. So the answers are looked at where they
//! pass.

use async_trait::async_trait;
use object_store::ClientOptions;
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse, HttpResponseBody, HttpService,
    ReqwestConnector,
};

use crate::EngineError;

const BAD_REQUEST: u16 = 400;
const NOT_FOUND: u16 = 404;
/// S3's code for a name that no bucket has.
const INVALID_NAME: &str = "InvalidBucketName";

/// `not-found`: there is no such bucket.
pub(super) fn missing(bucket: &str) -> EngineError {
    EngineError::not_found(
        "object-not-found",
        format!("there is no bucket '{bucket}'; create it, or correct the URL or the endpoint of its [storage]"),
    )
}

/// `invalid-job`: the store has no bucket of such a name, and never will.
fn invalid(bucket: &str) -> EngineError {
    let rule = "expected 3 to 63 small letters, digits, '-' and '.'";
    EngineError::invalid("url-bucket", format!("the store refuses '{bucket}' as the name of a bucket: {rule}"))
}

/// Makes the HTTP client of one bucket's store.
#[derive(Debug)]
pub(super) struct Connector {
    bucket: String,
}

impl Connector {
    pub(super) fn new(bucket: &str) -> Self {
        Self { bucket: bucket.to_owned() }
    }
}

impl HttpConnector for Connector {
    fn connect(&self, options: &ClientOptions) -> object_store::Result<HttpClient> {
        let inner = ReqwestConnector::default().connect(options)?;
        Ok(HttpClient::new(Watched { inner, bucket: self.bucket.clone() }))
    }
}

#[derive(Debug)]
struct Watched {
    inner: HttpClient,
    bucket: String,
}

#[async_trait]
impl HttpService for Watched {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let is_listing = is_listing(request.method().as_str(), request.uri().query());
        let response = self.inner.execute(request).await?;
        if is_listing && response.status().as_u16() == NOT_FOUND {
            // Of this kind are failures that are not tried again.
            return Err(HttpError::new(HttpErrorKind::Unknown, missing(&self.bucket)));
        }
        if response.status().as_u16() != BAD_REQUEST {
            return Ok(response);
        }
        let (head, body) = response.into_parts();
        let body = body.bytes().await?;
        if code(&body) == Some(INVALID_NAME) {
            return Err(HttpError::new(HttpErrorKind::Unknown, invalid(&self.bucket)));
        }
        Ok(HttpResponse::from_parts(head, HttpResponseBody::from(body)))
    }
}

/// The code in S3's answer to a call that it refuses.
fn code(body: &[u8]) -> Option<&str> {
    let (_, rest) = std::str::from_utf8(body).ok()?.split_once("<Code>")?;
    rest.split_once("</Code>").map(|(code, _)| code.trim())
}

fn is_listing(method: &str, query: Option<&str>) -> bool {
    method == "GET" && query.is_some_and(|query| query.split('&').any(|pair| pair == "list-type=2"))
}

#[cfg(test)]
mod tests {
    use lake_proto::ErrorClass;
    use object_store::client::HttpRequestBody;

    use super::*;

    #[test]
    fn only_listings_say_whether_a_bucket_is_there() {
        assert!(is_listing("GET", Some("list-type=2&prefix=a%2F")));
        assert!(is_listing("GET", Some("prefix=list&list-type=2")));
        for (method, query) in [("GET", None), ("HEAD", Some("list-type=2")), ("GET", Some("uploadId=list-type=2"))] {
            assert!(!is_listing(method, query), "{method} {query:?}");
        }
    }

    #[test]
    fn what_is_wrong_with_a_bucket_is_found_by_type_below_what_the_client_makes_of_it() {
        for (cause, class, code) in [
            (missing("lake"), ErrorClass::NotFound, "object-not-found"),
            (invalid("lake"), ErrorClass::InvalidJob, "url-bucket"),
        ] {
            let http = HttpError::new(HttpErrorKind::Unknown, cause);
            let error = object_store::Error::Generic { store: "S3", source: Box::new(http) };
            let error = EngineError::from(error);
            assert_eq!((error.class(), error.code()), (class, code));
            assert!(error.to_string().contains("'lake'"), "{error}");
        }
    }

    /// Answers every call alike.
    #[derive(Debug)]
    struct Answers(u16, &'static str);

    #[async_trait]
    impl HttpService for Answers {
        async fn call(&self, _: HttpRequest) -> Result<HttpResponse, HttpError> {
            let mut response = HttpResponse::new(HttpResponseBody::from(self.1.to_owned()));
            *response.status_mut() = self.0.try_into().unwrap();
            Ok(response)
        }
    }

    #[tokio::test]
    async fn a_name_that_the_store_refuses_is_an_error_of_the_job_and_other_answers_pass() {
        const REFUSED: &str =
            "<?xml version=\"1.0\"?><Error><Code> InvalidBucketName</Code><Message>no</Message></Error>";
        const OTHER: &str = "<Error><Code>InvalidRequest</Code></Error>";
        let call = async |status, body| {
            let watched = Watched { inner: HttpClient::new(Answers(status, body)), bucket: "Lake_".to_owned() };
            watched.call(HttpRequest::new(HttpRequestBody::empty())).await
        };
        let error = call(400, REFUSED).await.unwrap_err();
        let error = object_store::Error::Generic { store: "S3", source: Box::new(error) };
        assert_eq!(EngineError::from(error).code(), "url-bucket");
        for (status, body) in [(400, OTHER), (400, ""), (200, REFUSED), (403, REFUSED)] {
            let response = call(status, body).await.unwrap();
            assert_eq!(response.status().as_u16(), status);
            assert_eq!(response.into_body().bytes().await.unwrap(), body.as_bytes());
        }
    }
}
