//! The REST port as Spark's clients use it.

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::{Value, json};

use super::support::{Cluster, http, send};

const JOB: &str = r#"
[job]
name = "orders"

[warehouse]
root = "s3://lake"

[[source]]
name = "landing"
kind = "files"
format = "csv"
path = "s3://landing/orders/"

[[table]]
name = "bronze.orders"
from = "landing"
mode = "append"
"#;

fn request(properties: Value) -> String {
    let mut properties = properties;
    properties["lake.job"] = json!(JOB);
    json!({
        "action": "CreateSubmissionRequest",
        "appResource": "",
        "mainClass": "",
        "appArgs": [],
        "clientSparkVersion": "4.0.0",
        "environmentVariables": { "SPARK_ENV_LOADED": "1" },
        "sparkProperties": properties,
    })
    .to_string()
}

async fn post(address: SocketAddr, path: &str, body: &str) -> (u16, Value) {
    let host = address.to_string();
    let headers = [("Host", host.as_str()), ("Content-Type", "application/json;charset=UTF-8")];
    let (status, head, body) = send(address, &format!("POST /v1/submissions/{path}"), &headers, body).await;
    assert!(head.contains("application/json"), "{head}");
    (status, serde_json::from_str(&body).unwrap())
}

async fn get(address: SocketAddr, path: &str) -> (u16, Value) {
    let (status, _, body) = http(address, "GET", &format!("/v1/submissions/{path}")).await;
    (status, serde_json::from_str(&body).unwrap())
}

#[tokio::test]
async fn a_submission_is_created_polled_and_killed_as_at_a_spark_master() {
    let cluster = Cluster::start().await;
    let address = cluster.rest_address();
    assert_eq!(get(address, "readyz").await.1["success"], true);
    let (status, created) = post(address, "create", &request(json!({ "spark.app.name": "of rest" }))).await;
    assert_eq!((status, &created["success"]), (200, &json!(true)), "{created}");
    let id = created["submissionId"].as_str().unwrap();
    assert!(id.starts_with("driver-"), "{created}");
    assert_eq!(created["message"], format!("Driver successfully submitted as {id}"));
    let known = cluster.status(id).await.unwrap();
    assert_eq!((known.name.as_str(), known.deploy_mode.as_str()), ("of rest", "cluster"));

    let (status, found) = get(address, &format!("status/{id}")).await;
    assert_eq!((status, &found["driverState"], &found["submissionId"]), (200, &json!("SUBMITTED"), &json!(id)));
    let (_, killed) = post(address, &format!("kill/{id}"), "").await;
    assert_eq!((&killed["success"], &killed["submissionId"]), (&json!(true), &json!(id)), "{killed}");
    assert_eq!(get(address, &format!("status/{id}")).await.1["driverState"], "KILLED");
    assert_eq!(post(address, &format!("kill/{id}"), "").await.1["success"], false);
    for (status, answer) in [get(address, "status/driver-none").await, post(address, "kill/driver-none", "").await] {
        assert_eq!((status, &answer["success"]), (200, &json!(false)), "{answer}");
    }
    cluster.stop().await;
}

#[tokio::test]
async fn the_same_submission_id_is_the_same_driver() {
    let cluster = Cluster::start().await;
    let address = cluster.rest_address();
    let request = request(json!({ "lake.submissionId": "s-rest" }));
    let (first, second) = (post(address, "create", &request).await.1, post(address, "create", &request).await.1);
    assert_eq!(first["submissionId"], second["submissionId"]);
    let other = request.replace("\"mainClass\":\"\"", "\"mainClass\":\"x\"").replace("orders", "others");
    let (status, refused) = post(address, "create", &other).await;
    assert_eq!((status, &refused["success"]), (200, &json!(false)));
    assert!(refused["message"].as_str().unwrap().contains("submission-differs"), "{refused}");
    cluster.stop().await;
}

#[tokio::test]
async fn all_are_killed_and_those_that_ended_are_cleared() {
    let cluster = Cluster::start().await;
    let address = cluster.rest_address();
    let mut ids = Vec::new();
    for number in 0..3 {
        ids.push(cluster.submit(&format!("s-{number}")).await.unwrap().driver_id);
    }
    let (status, killed) = post(address, "killall", "").await;
    assert_eq!(
        (status, &killed["action"], &killed["success"]),
        (200, &json!("KillAllSubmissionResponse"), &json!(true))
    );
    for id in &ids {
        assert_eq!(cluster.status(id).await.unwrap().state, "KILLED");
    }
    let running = cluster.submit("s-9").await.unwrap().driver_id;
    // What ended a moment ago stays for a moment.
    let cleared = async {
        loop {
            let (status, answer) = post(address, "clear", "").await;
            assert_eq!((status, &answer["action"], &answer["success"]), (200, &json!("ClearResponse"), &json!(true)));
            if cluster.list().await.applications.len() == 1 {
                return;
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), cleared).await.unwrap();
    assert_eq!(cluster.status(&running).await.unwrap().state, "SUBMITTED");
    // The history still tells how a driver ended that the masters keep no more.
    let (_, past) = get(address, &format!("status/{}", ids[0])).await;
    assert_eq!((&past["success"], &past["driverState"]), (&json!(true), &json!("KILLED")), "{past}");
    cluster.stop().await;
}

#[tokio::test]
async fn what_cannot_be_understood_is_refused_in_sparks_words() {
    let cluster = Cluster::start().await;
    let address = cluster.rest_address();
    for (path, body, words) in [
        ("create", "{", "malformed request"),
        (
            "create",
            r#"{"action":"CreateSubmissionRequest","appResource":"file:/app.jar"}"#,
            "appResource is 'file:/app.jar'",
        ),
        ("create", r#"{"action":"CreateSubmissionRequest"}"#, "lake.job"),
    ] {
        let (status, answer) = post(address, path, body).await;
        assert_eq!((status, &answer["action"]), (400, &json!("ErrorResponse")), "{answer}");
        assert!(answer["message"].as_str().unwrap().contains(words), "{words} is not in {answer}");
    }
    for (path, expected) in
        [("/", 400), ("/v1/submissions/status", 400), ("/v2/submissions/create", 468), ("/x/..%2f", 468)]
    {
        let (status, _, body) = http(address, "GET", path).await;
        assert_eq!(status, expected, "{path}: {body}");
        assert!(body.contains("\"action\" : \"ErrorResponse\""), "{body}");
    }
    assert_eq!(http(address, "GET", "/v1/submissions/create").await.0, 405);
    let own = address.to_string();
    let body = request(json!({}));
    for (headers, expected) in [
        (vec![("Host", own.as_str()), ("Content-Type", "text/plain")], 403),
        (vec![("Host", own.as_str()), ("Origin", "http://attacker.example")], 403),
        (vec![("Host", "attacker.example"), ("Content-Type", "application/json")], 421),
    ] {
        let (status, _, answer) = send(address, "POST /v1/submissions/create", &headers, &body).await;
        assert_eq!(status, expected, "{headers:?}: {answer}");
        assert!(answer.contains("\"action\" : \"ErrorResponse\""), "{answer}");
    }
    assert_eq!(cluster.list().await.applications.len(), 0);
    cluster.stop().await;
}
