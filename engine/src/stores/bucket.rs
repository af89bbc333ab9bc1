//! Whether a bucket is there, told by the status of a listing. Edge.
//!
//! A store answers a listing with 404 only when the bucket is missing; without objects the list is empty. The client
//! keeps that status to itself and calls it a failure like any other, which would be tried again for nothing. So the
//! answer is looked at where it passes.

use async_trait::async_trait;
use object_store::ClientOptions;
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse, HttpService, ReqwestConnector,
};

use crate::EngineError;

const NOT_FOUND: u16 = 404;

/// `not-found`: there is no such bucket.
pub(super) fn missing(bucket: &str) -> EngineError {
    EngineError::not_found(
        "object-not-found",
        format!("there is no bucket '{bucket}'; create it, or correct the URL or the endpoint of its [storage]"),
    )
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
        Ok(response)
    }
}

fn is_listing(method: &str, query: Option<&str>) -> bool {
    method == "GET" && query.is_some_and(|query| query.split('&').any(|pair| pair == "list-type=2"))
}

#[cfg(test)]
mod tests {
    use lake_proto::ErrorClass;

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
    fn a_missing_bucket_is_found_by_type_below_what_the_client_makes_of_it() {
        let http = HttpError::new(HttpErrorKind::Unknown, missing("lake"));
        let error = object_store::Error::Generic { store: "S3", source: Box::new(http) };
        let error = EngineError::from(error);
        assert_eq!((error.class(), error.code()), (ErrorClass::NotFound, "object-not-found"));
        assert!(error.to_string().contains("'lake'"), "{error}");
    }
}
