use std::time::Duration;

use lake_master_core::{Registration, digest};
use lake_proto::codes;
use tempfile::TempDir;

use super::*;

fn registration(number: u16) -> Command {
    Command::WorkerRegistered(Registration {
        instance: format!("instance-{number}"),
        host: "h".to_owned(),
        grpc_port: number,
        flight_port: 1,
        http_port: 1,
        cores: 1,
        memory_bytes: 1,
    })
}

async fn leader(directory: &TempDir) -> (Raft, RaftThread) {
    let (raft, _service, starting) = open(Options {
        data_dir: directory.path().to_owned(),
        id: 1,
        address: "127.0.0.1:1".to_owned(),
        peers: Directory::default(),
        joins: false,
    })
    .unwrap();
    let thread = starting.start().await.unwrap();
    let mut status = raft.watch();
    tokio::time::timeout(Duration::from_secs(10), status.wait_for(|status| status.role == Role::Leader))
        .await
        .unwrap()
        .unwrap();
    (raft, thread)
}

fn crashed_copy(directory: &TempDir) -> TempDir {
    let copy = tempfile::tempdir().unwrap();
    std::fs::copy(directory.path().join("raft.redb"), copy.path().join("raft.redb")).unwrap();
    copy
}

#[tokio::test]
async fn everything_acknowledged_is_there_after_a_crash_and_after_an_orderly_end() {
    let directory = tempfile::tempdir().unwrap();
    let (raft, thread) = leader(&directory).await;
    for number in 1..=50 {
        raft.propose(registration(number)).await.unwrap();
    }
    let expected = raft.read(digest::of_state).unwrap();

    let copy = crashed_copy(&directory);
    let (after_crash, crashed_thread) = leader(&copy).await;
    assert_eq!(after_crash.read(digest::of_state).unwrap(), expected);
    crashed_thread.stop().await;

    thread.stop().await;
    let (after_stop, thread) = leader(&directory).await;
    assert_eq!(after_stop.read(digest::of_state).unwrap(), expected);
    after_stop.propose(registration(51)).await.unwrap();
    thread.stop().await;
    assert_eq!(raft.propose(registration(52)).await.unwrap_err().code, "stopping");
}

#[tokio::test]
async fn proposals_at_once_are_each_answered_with_their_own_events() {
    let directory = tempfile::tempdir().unwrap();
    let (raft, thread) = leader(&directory).await;
    let proposals = (1..=200).map(|number| {
        let raft = raft.clone();
        async move { (number, raft.propose(registration(number)).await.unwrap()) }
    });
    for (number, events) in futures::future::join_all(proposals).await {
        let [Event::WorkerRegistered { worker, is_repeat: false }] = events.as_slice() else {
            panic!("{events:?}");
        };
        assert!(worker.as_str().ends_with(&format!("-h-{number}")), "{worker} answers {number}");
    }
    thread.stop().await;
}

#[tokio::test]
async fn a_member_at_an_address_without_a_master_is_refused_at_once_with_that_address() {
    let directory = tempfile::tempdir().unwrap();
    let (raft, thread) = leader(&directory).await;
    // One port that nobody listens at, and one where nobody takes the connection that the kernel accepts.
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    for address in [closed, listener.local_addr().unwrap()].map(|address| address.to_string()) {
        let added = tokio::time::timeout(Duration::from_secs(5), raft.add_member(4, &address));
        let fault = added.await.unwrap().unwrap_err();
        assert_eq!((fault.class, fault.code.as_str()), (ErrorClass::Unavailable, codes::NO_ANSWER));
        assert!(fault.message.contains(&format!("none answers at {address} (")), "{fault}");
        assert!(fault.message.contains("--join and --id 4"), "{fault}");
    }
    assert_eq!(raft.group().await.unwrap().members.len(), 1);
    thread.stop().await;
}

#[tokio::test]
async fn a_group_has_a_key_that_outlives_its_restarts_and_no_other_group_has() {
    let (directory, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (raft, thread) = leader(&directory).await;
    let key = raft.group_key().unwrap();
    thread.stop().await;
    let (again, thread) = leader(&directory).await;
    assert_eq!(again.group_key(), Some(key));
    thread.stop().await;
    let (stranger, thread) = leader(&other).await;
    assert!(stranger.group_key().is_some_and(|other| other != key));
    thread.stop().await;
}

#[tokio::test]
async fn what_was_done_is_counted_once_and_not_again_after_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let (raft, thread) = leader(&directory).await;
    for number in [1, 2, 2] {
        raft.propose(registration(number)).await.unwrap();
    }
    assert_eq!(raft.moves().worker_registrations.get(), 2, "a repeat is not one more");
    assert_eq!(raft.moves().proposal_seconds.get().count, 3);
    assert_eq!((raft.moves().leader_changes.get(), raft.moves().snapshots.get()), (1, 0));

    let copy = crashed_copy(&directory);
    let (after_crash, crashed_thread) = leader(&copy).await;
    assert_eq!(after_crash.moves().worker_registrations.get(), 0, "they were counted before");
    after_crash.propose(registration(3)).await.unwrap();
    assert_eq!(after_crash.moves().worker_registrations.get(), 1);
    crashed_thread.stop().await;
    assert_eq!(after_crash.moves().snapshots.get(), 1);
    assert!(after_crash.moves().snapshot_bytes.get() > 0);
    thread.stop().await;
}
