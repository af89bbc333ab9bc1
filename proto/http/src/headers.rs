//! Headers that forbid what we never need. Pure.

use http::header::{CONTENT_SECURITY_POLICY, CONTENT_TYPE};
use http::{HeaderMap, HeaderName, HeaderValue};

/// Headers of every answer, names in lower case; [`content_security`] gives one more.
///
/// The referrer goes to ourselves alone. It must go there: under `no-referrer` a browser also hides the origin of a form
/// (`Origin: null`), and a form of our own could not be told from another site's.
const HARDENING: [(&str, &str); 3] =
    [("x-content-type-options", "nosniff"), ("referrer-policy", "same-origin"), ("cache-control", "no-store")];

/// A page takes style, script, icon and its own fresh content from where it came from, sends its forms there, and nothing
/// comes from elsewhere or from within: text that became markup in spite of escaping would be dead.
const PAGE_SECURITY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; \
     base-uri 'none'; form-action 'self'; frame-ancestors 'none'";
const OTHER_SECURITY: &str = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// The `content-security-policy` of an answer with this content type.
fn content_security(content_type: &str) -> &'static str {
    if content_type.starts_with("text/html") { PAGE_SECURITY } else { OTHER_SECURITY }
}

/// Puts [`HARDENING`] and the policy of its type into an answer's headers, which say already of what type it is.
pub(crate) fn forbid(headers: &mut HeaderMap) {
    for (name, value) in HARDENING {
        headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    let content_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let policy = HeaderValue::from_static(content_security(content_type));
    headers.insert(CONTENT_SECURITY_POLICY, policy);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_policy_allows_what_is_written_into_a_page_or_comes_from_elsewhere() {
        for content_type in ["text/html; charset=utf-8", "text/plain", "application/json", ""] {
            let policy = content_security(content_type);
            assert!(policy.starts_with("default-src 'none'") && policy.contains("frame-ancestors 'none'"), "{policy}");
            assert!(!policy.contains("unsafe") && !policy.contains("http"), "{policy}");
            for allowed in ["script-src 'self'", "form-action 'self'"] {
                assert_eq!(policy.contains(allowed), content_type.starts_with("text/html"), "{content_type}");
            }
        }
    }

    #[test]
    fn an_answer_has_every_header_and_the_policy_of_its_type() {
        for (content_type, expected) in [(Some("text/html; charset=utf-8"), PAGE_SECURITY), (None, OTHER_SECURITY)] {
            let mut headers = HeaderMap::new();
            if let Some(content_type) = content_type {
                headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
            }
            forbid(&mut headers);
            for (name, value) in HARDENING {
                assert_eq!(headers.get(name).unwrap(), value);
            }
            assert_eq!(headers.get(CONTENT_SECURITY_POLICY).unwrap(), expected);
        }
    }
}
