//! Whether a request that changes something comes from a program, from our own page, or from a browser that another site
//! sent here. Pure.
//!
//! Every browser since 2020 sends `Origin` with each POST, whatever made it: a form, a script, a link. It cannot be set by
//! a page. A request without it is a program's, which nobody can send without being in the network. Older browsers are kept
//! out by what they cannot do across sites: a form chooses one of three content types, and a script cannot set a header of
//! its own.

use http::header::{CONTENT_TYPE, ORIGIN};
use http::{HeaderMap, HeaderName};
use lake_proto::{ErrorClass, Fault};

/// Carries the token of [`Caller::Page`]; from programs, it only says that no form sent the request.
pub const CSRF_HEADER: HeaderName = HeaderName::from_static("x-lake-csrf");

const FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
const FORM_TYPES: [&str; 3] = ["application/x-www-form-urlencoded", "multipart/form-data", "text/plain"];

/// Who asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Caller {
    /// No browser.
    Program,
    /// A page of this server, as its browser says. It must also have the token of what it changes.
    Page,
}

impl Caller {
    /// Whether it may do what `admits` says a token is good for. `in_form` is the token of a form, `in_header` that of a
    /// script, in [`CSRF_HEADER`].
    pub fn may(self, in_form: Option<&str>, in_header: Option<&str>, admits: impl Fn(&str) -> bool) -> bool {
        match self {
            // What it has in the header only says that no form has sent it.
            Self::Program => in_form.is_none_or(admits),
            Self::Page => in_form.or(in_header).is_some_and(admits),
        }
    }
}

/// Who sends a request with these headers to the server that it calls `host`.
///
/// # Errors
/// `denied/cross-site` when another site does, or it cannot be told.
pub fn caller(headers: &HeaderMap, host: &str) -> Result<Caller, Fault> {
    let mut origins = headers.get_all(ORIGIN).iter();
    let (origin, is_one) = (origins.next(), origins.next().is_none());
    let site = headers.get(&FETCH_SITE);
    let is_same_site = site.is_none_or(|site| site == "same-origin");
    match origin {
        Some(origin) if is_one && is_same_site && is_own(origin.to_str().unwrap_or_default(), host) => Ok(Caller::Page),
        Some(origin) => {
            let shown: String = String::from_utf8_lossy(origin.as_bytes()).chars().take(200).collect();
            let message = format!(
                "a page of '{shown}' may not change anything at '{host}'; behind a proxy, have it pass on the header 'Host'"
            );
            Err(cross_site(message))
        }
        None if site.is_some() => Err(cross_site("a browser sent this request without naming its page".to_owned())),
        None if headers.contains_key(&CSRF_HEADER) || !is_of_a_form(headers) => Ok(Caller::Program),
        None => {
            let message = "a form could have sent this: send it as application/json, or with the header 'X-Lake-Csrf'";
            Err(cross_site(message.to_owned()))
        }
    }
}

fn is_own(origin: &str, host: &str) -> bool {
    let own = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"));
    own.is_some_and(|own| own.eq_ignore_ascii_case(host))
}

fn is_of_a_form(headers: &HeaderMap) -> bool {
    headers.get_all(CONTENT_TYPE).iter().any(|value| {
        let essence = value.to_str().unwrap_or_default().split(';').next().unwrap_or_default().trim();
        FORM_TYPES.iter().any(|form| essence.eq_ignore_ascii_case(form))
    })
}

fn cross_site(message: String) -> Fault {
    Fault::new(ErrorClass::Denied, "cross-site", message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(headers: &[(&'static str, &str)]) -> Result<Caller, String> {
        let pair = |(name, value): &(&'static str, &str)| (HeaderName::from_static(name), value.parse().unwrap());
        let headers = headers.iter().map(pair).fold(HeaderMap::new(), |mut headers, (name, value)| {
            headers.append(name, value);
            headers
        });
        caller(&headers, "h1:8080").map_err(|fault| fault.code)
    }

    #[test]
    fn a_program_sends_no_origin_and_nothing_that_a_form_could_send() {
        for headers in [
            &[][..],
            &[("content-type", "application/json")],
            &[("content-type", "application/json;charset=UTF-8")],
            &[("content-type", "application/x-www-form-urlencoded"), ("x-lake-csrf", "1")],
        ] {
            assert_eq!(asked(headers), Ok(Caller::Program), "{headers:?}");
        }
    }

    #[test]
    fn a_page_needs_the_token_and_a_program_only_no_wrong_one_in_a_form() {
        for (who, in_form, in_header, expected) in [
            (Caller::Program, None, None, true),
            (Caller::Program, None, Some("1"), true),
            (Caller::Program, Some("good"), None, true),
            (Caller::Program, Some("wrong"), None, false),
            (Caller::Program, Some("wrong"), Some("good"), false),
            (Caller::Page, None, None, false),
            (Caller::Page, None, Some("good"), true),
            (Caller::Page, None, Some("wrong"), false),
            (Caller::Page, Some("good"), None, true),
            (Caller::Page, Some("good"), Some("wrong"), true),
            (Caller::Page, Some("wrong"), Some("good"), false),
            (Caller::Page, Some(""), Some("good"), false),
        ] {
            let may = who.may(in_form, in_header, |token| token == "good");
            assert_eq!(may, expected, "{who:?} with {in_form:?} in a form and {in_header:?} in a header");
        }
    }

    #[test]
    fn our_own_page_is_known_by_its_origin() {
        for headers in [
            &[("origin", "http://h1:8080")][..],
            &[("origin", "https://H1:8080"), ("sec-fetch-site", "same-origin")],
            &[("origin", "http://h1:8080"), ("content-type", "application/x-www-form-urlencoded")],
        ] {
            assert_eq!(asked(headers), Ok(Caller::Page), "{headers:?}");
        }
    }

    #[test]
    fn what_another_site_can_have_a_browser_send_is_refused() {
        for headers in [
            &[("origin", "http://attacker.example")][..],
            &[("origin", "http://h1:8080.attacker.example")],
            // The same site is not the same page: another server on another port of this host.
            &[("origin", "http://h1:3000")],
            &[("origin", "http://h1")],
            &[("origin", "null")],
            &[("origin", "")],
            &[("origin", "file://")],
            &[("origin", "http://h1:8080"), ("origin", "http://attacker.example")],
            &[("origin", "http://h1:8080"), ("sec-fetch-site", "cross-site")],
            &[("origin", "http://h1:8080"), ("sec-fetch-site", "same-site")],
            &[("origin", "http://attacker.example"), ("x-lake-csrf", "1"), ("content-type", "application/json")],
            &[("sec-fetch-site", "cross-site")],
            &[("sec-fetch-site", "none")],
            &[("content-type", "application/x-www-form-urlencoded")],
            &[("content-type", "Multipart/Form-Data; boundary=x")],
            &[("content-type", "text/plain;charset=utf-8")],
            &[("content-type", "application/json"), ("content-type", "text/plain")],
        ] {
            assert_eq!(asked(headers), Err("cross-site".to_owned()), "{headers:?}");
        }
    }
}
