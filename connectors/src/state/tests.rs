//! The contract of a place for state, on a folder and in memory.

use bytes::Bytes;
use millstream_engine::checkpoint::protocol::try_store;
use millstream_engine::checkpoint::store::{Created, StateStore};
use object_store::memory::InMemory;

use super::*;

async fn assert_contract(state: &dyn StateStore) {
    assert!(state.read("commits/1").await.unwrap().is_none());
    assert!(state.list("commits").await.unwrap().is_empty());
    let create = |name, content: &'static [u8]| state.create(name, Bytes::from_static(content));
    assert!(matches!(create("commits/2", b"two").await, Created::Yes));
    assert!(matches!(create("commits/1", b"one").await, Created::Yes));
    assert!(matches!(create("commits/1", b"other").await, Created::Exists));
    assert_eq!(state.read("commits/1").await.unwrap().unwrap(), "one");
    let listed = state.list("commits").await.unwrap();
    let names: Vec<_> = listed.iter().map(|s| (s.name.as_str(), s.bytes)).collect();
    assert_eq!(names, [("commits/1", 3), ("commits/2", 3)]);
    state.remove("commits/1").await.unwrap();
    state.remove("commits/1").await.unwrap();
    assert!(state.read("commits/1").await.unwrap().is_none());
    try_store(state, 7).await.unwrap();
    assert!(state.list("probes").await.unwrap().is_empty());
}

#[tokio::test]
async fn a_folder_keeps_the_contract() {
    let folder = tempfile::tempdir().unwrap();
    let state = ObjectState::open("deep/state", folder.path(), true).await.unwrap();
    assert_contract(&state).await;
    assert!(ObjectState::open("elsewhere", folder.path(), false).await.is_err());
}

#[tokio::test]
async fn a_store_keeps_the_contract() {
    assert_contract(&ObjectState::in_store(Arc::new(InMemory::new()), "a/b")).await;
}

#[tokio::test]
async fn a_place_must_be_one() {
    let folder = tempfile::tempdir().unwrap();
    for place in ["s3://", "s3://bucket", "s3://bucket/", "http://x/y"] {
        assert!(ObjectState::open(place, folder.path(), true).await.is_err(), "{place}");
    }
}
