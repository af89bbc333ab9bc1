//! The web port as strangers use it: bad input, forged headers, other sites.

use std::net::SocketAddr;

use serde_json::Value;

use super::support::{Cluster, FakeWorker, http, send, submission};

async fn json(address: SocketAddr, path: &str) -> (u16, Value) {
    let (status, head, body) = http(address, "GET", path).await;
    assert!(head.contains("content-type: application/json"), "{path}: {head}");
    (status, serde_json::from_str(&body).unwrap_or_else(|error| panic!("{path}: {error}: {body}")))
}

#[tokio::test]
async fn bad_input_to_the_api_is_a_failure_in_json() {
    let cluster = Cluster::start().await;
    let submitted = cluster.submit("s-1").await.unwrap();
    let address = cluster.http_address();
    let app = format!("/api/v1/applications/{}", submitted.app_id);
    for (path, status, code) in [
        ("/api/v1/applications?limit=0".to_owned(), 400, "parameter"),
        ("/api/v1/applications?limit=1001".to_owned(), 400, "parameter"),
        ("/api/v1/applications?limit=99999999999999999999".to_owned(), 400, "parameter"),
        ("/api/v1/applications?offset=-1".to_owned(), 400, "parameter"),
        ("/api/v1/applications?status=flying".to_owned(), 400, "parameter"),
        ("/api/v1/applications?minDate=soon".to_owned(), 400, "parameter"),
        ("/api/v1/workers?limit=x".to_owned(), 400, "parameter"),
        ("/api/v1/masters?limit=-5".to_owned(), 400, "parameter"),
        ("/api/v1/drivers?limit=-5".to_owned(), 400, "parameter"),
        ("/api/v1/tables?limit=-5".to_owned(), 400, "parameter"),
        ("/api/v1/lineage?limit=-5".to_owned(), 400, "parameter"),
        (format!("{app}/jobs?limit=0"), 400, "parameter"),
        (format!("{app}/executors?limit=0"), 400, "parameter"),
        (format!("{app}/steps?offset=x"), 400, "parameter"),
        (format!("{app}/%ff"), 400, "path"),
        ("/api/v1/applications/%ff".to_owned(), 400, "path"),
        ("/api/v1/applications/app-none".to_owned(), 404, "no-such-application"),
        ("/api/v1/applications/..%2f..%2fetc%2fpasswd".to_owned(), 404, "no-such-application"),
        ("/api/v1/applications/..%2f..%2fetc%2fpasswd/logs".to_owned(), 404, "no-such-application"),
        ("/api/v1/../../etc/passwd".to_owned(), 404, "no-such-path"),
        (format!("{app}/jobs/7"), 404, "no-such-job"),
        (format!("{app}/stages/0"), 404, "no-such-stage"),
        (format!("{app}/stages/-1/0/taskSummary?quantiles=-1"), 404, "no-such-stage"),
        ("/api/v1/tables/..%2f".to_owned(), 404, "no-such-table"),
        ("/api/v1/none".to_owned(), 404, "no-such-path"),
        ("/api/v1/".to_owned(), 404, "no-such-path"),
        ("/api/v1".to_owned(), 404, "no-such-path"),
    ] {
        let (found, answer) = json(address, &path).await;
        assert_eq!((found, answer["error"]["code"].as_str()), (status, Some(code)), "{path}: {answer}");
        assert!(answer["error"]["class"].is_string() && answer["error"]["message"].is_string(), "{answer}");
    }
    for path in ["/api/v1/none", "/api/v1/none/of/these", "/api/v1/"] {
        let (_, answer) = json(address, path).await;
        let message = answer["error"]["message"].as_str().unwrap();
        assert!(message.starts_with(&format!("'{path}' is not a path of the API")), "{message}");
    }
    let (status, head, body) = http(address, "DELETE", &app).await;
    assert!(status == 405 && body.contains("\"code\":\"method\""), "{head}\n{body}");
    assert!(body.contains(&format!("'{app}' does not take DELETE")), "{body}");
    assert!(head.to_lowercase().contains("allow: get"), "{head}");
    assert_eq!(http(address, "GET", &format!("{app}/kill")).await.0, 405);
    assert_eq!(http(address, "PUT", "/").await.0, 405);
    cluster.stop().await;
}

#[tokio::test]
async fn lists_are_given_in_parts_with_their_length() {
    let cluster = Cluster::start().await;
    for number in 0..5 {
        cluster.submit(&format!("s-{number}")).await.unwrap();
    }
    let address = cluster.http_address();
    let (status, head, body) = http(address, "GET", "/api/v1/applications?limit=2&offset=1").await;
    let list: Value = serde_json::from_str(&body).unwrap();
    assert_eq!((status, list.as_array().unwrap().len()), (200, 2), "{head}");
    assert!(head.contains("x-total-count: 5"), "{head}");
    assert_eq!(json(address, "/api/v1/applications?status=running").await.1.as_array().unwrap().len(), 5);
    assert_eq!(json(address, "/api/v1/applications?status=RUNNING").await.1, Value::Array(vec![]));
    assert_eq!(json(address, "/api/v1/applications?maxDate=1970-01-02").await.1, Value::Array(vec![]));
    let since = json(address, "/api/v1/applications?minDate=2020-01-01&limit=3").await.1;
    assert_eq!(since.as_array().unwrap().len(), 3);
    assert_eq!(json(address, "/api/v1/drivers").await.1.as_array().unwrap().len(), 5);
    let (_, document) = json(address, "/api/v1/openapi.json").await;
    assert!(document["paths"]["/api/v1/applications/{app_id}/stages"]["get"].is_object(), "{document}");
    cluster.stop().await;
}

#[tokio::test]
async fn other_names_than_ours_are_not_answered_but_for_probes() {
    let cluster = Cluster::start().await;
    let address = cluster.http_address();
    for (path, host, expected) in [
        ("/", "attacker.example", 421),
        ("/api/v1/applications", "attacker.example:8080", 421),
        ("/api/v1/applications", "localhost:1", 200),
        ("/healthz", "attacker.example", 200),
        ("/readyz", "10.0.0.1.nip.example", 200),
        ("/metrics", "anything", 200),
    ] {
        let (status, _, body) = send(address, &format!("GET {path}"), &[("Host", host)], "").await;
        assert_eq!(status, expected, "{path} of {host}: {body}");
    }
    let (status, head, body) = send(address, "GET /api/v1/version", &[("Host", "attacker.example")], "").await;
    assert!(status == 421 && head.contains("application/json") && body.contains("\"code\":\"host\""), "{head}\n{body}");
    assert_eq!(send(address, "GET /", &[], "").await.0, 400);
    let own = address.to_string();
    let headers = [("Host", own.as_str()), ("Content-Type", "application/json"), ("Content-Length", "1048577")];
    let (status, _, body) = send(address, "POST /api/v1/applications/app-1/kill", &headers, "").await;
    assert!(status == 413 && body.contains("body-too-large"), "{status}: {body}");
    cluster.stop().await;
}

#[tokio::test]
async fn an_application_is_ended_by_programs_and_by_our_own_pages_and_by_nobody_else() {
    let cluster = Cluster::start().await;
    let address = cluster.http_address();
    let (host, origin) = (address.to_string(), format!("http://{address}"));
    let waiting = cluster.submit("s-1").await.unwrap();
    let other = cluster.submit("s-2").await.unwrap();
    let (app, token) = (waiting.app_id.as_str(), cluster.kill_token(&waiting.app_id));
    let by_json = format!("POST /api/v1/applications/{app}/kill");
    let by_form = format!("POST /applications/{app}/kill");
    const FORM: (&str, &str) = ("Content-Type", "application/x-www-form-urlencoded");
    let (good, wrong) = (format!("csrf={token}"), format!("csrf={}", cluster.kill_token(&other.app_id)));

    let attacker = ("Origin", "http://attacker.example");
    let (ours, ours_port) = (("Origin", origin.as_str()), ("Origin", "http://127.0.0.1:1"));
    for (request, headers, body) in [
        (&by_json, vec![attacker], ""),
        (&by_json, vec![attacker, ("X-Lake-Csrf", token.as_str())], ""),
        (&by_json, vec![ours_port, ("X-Lake-Csrf", token.as_str())], ""),
        (&by_json, vec![ours], ""),
        (&by_json, vec![ours, ("X-Lake-Csrf", "1")], ""),
        (&by_json, vec![("Origin", "null"), ("X-Lake-Csrf", token.as_str())], ""),
        (&by_json, vec![FORM], "a=b"),
        (&by_json, vec![("Sec-Fetch-Site", "cross-site")], ""),
        (&by_form, vec![attacker, FORM], good.as_str()),
        (&by_form, vec![ours, FORM], wrong.as_str()),
        (&by_form, vec![ours, FORM], "other=1"),
        (&by_form, vec![ours, FORM], ""),
        (&by_form, vec![FORM], good.as_str()),
        (&by_form, vec![ours, ("Sec-Fetch-Site", "same-site"), FORM], good.as_str()),
    ] {
        let headers: Vec<(&str, &str)> = [("Host", host.as_str())].into_iter().chain(headers).collect();
        let (status, _, answer) = send(address, request, &headers, body).await;
        assert_eq!(status, 403, "{request} {headers:?} {body}: {answer}");
    }
    assert_eq!(cluster.status(app).await.unwrap().state, "SUBMITTED");

    let (status, head, _) = send(address, &by_form, &[("Host", &host), ours, FORM], &good).await;
    assert!(status == 303 && head.contains(&format!("location: /applications/{app}")), "{head}");
    assert_eq!(cluster.status(app).await.unwrap().state, "KILLED");
    // A repeat, also by a driver's id, changes nothing and says how it is.
    let again = format!("POST /api/v1/applications/{}/kill", waiting.driver_id);
    let (status, _, body) = send(address, &again, &[("Host", &host)], "").await;
    let killed: Value = serde_json::from_str(&body).unwrap();
    assert_eq!((status, killed["state"].as_str(), killed["app_id"].as_str()), (200, Some("KILLED"), Some(app)));

    let by_script = format!("POST /api/v1/applications/{}/kill", other.app_id);
    let token = cluster.kill_token(&other.app_id);
    let headers =
        [("Host", host.as_str()), ours, ("X-Lake-Csrf", token.as_str()), ("Content-Type", "application/json")];
    let (status, _, body) = send(address, &by_script, &headers, "{}").await;
    assert!(status == 200 && body.contains("\"state\":\"KILLED\""), "{status}: {body}");
    let unknown = send(address, "POST /api/v1/applications/app-none/kill", &[("Host", &host)], "").await;
    assert_eq!(unknown.0, 404);
    cluster.stop().await;
}

#[tokio::test]
async fn an_application_that_runs_is_ended_through_its_worker() {
    let cluster = Cluster::start().await;
    let mut worker = FakeWorker::attach(&cluster, "", vec![]).await;
    let submitted = cluster.submit_request(submission("s-1")).await.unwrap();
    let launch = worker.launch().await;
    worker.started(&launch).await;
    let address = cluster.http_address();
    let request = format!("POST /api/v1/applications/{}/kill", submitted.app_id);
    // The driver does not end, so the answer comes with the state as it is.
    let (status, _, body) = send(address, &request, &[("Host", &address.to_string())], "").await;
    assert!(status == 200 && body.contains("\"state\":\"RUNNING\""), "{status}: {body}");
    let (_, detail) = json(address, &format!("/api/v1/applications/{}", submitted.app_id)).await;
    assert_eq!(detail["is_killing"], true, "{detail}");
    cluster.stop().await;
}
