//! What a restart refuses to go on from.

use super::*;
use crate::checkpoint::in_memory::Objects;
use crate::checkpoint::protocol::{MARKERS, Owner};
use crate::clock::ManualClock;

fn node(fingerprint: &str, owner: &str) -> NodeRecord {
    let (fingerprint, owner) = (fingerprint.to_owned(), owner.to_owned());
    NodeRecord { fingerprint, name: "Keeper".into(), owner, stateful: true, since: 0 }
}

/// An application that has committed `count` times after it was taken over.
async fn committed(store: &Arc<dyn StateStore>, seed: u64, count: u64) -> Owner {
    let nodes = vec![node("a", "A"), node("b", "B")];
    let prepare = |before: Option<&Manifest>, number| {
        take_over(before, number, nodes.clone(), &Discard::default())
    };
    let clock = Arc::new(ManualClock::new(0));
    let mut owner = Owner::claim(Arc::clone(store), clock, seed, prepare).await.unwrap();
    for epoch in 1..=count {
        let head = owner.head();
        let (nodes, tail_from) = (head.nodes.clone(), head.tail_from);
        let next = Manifest { epoch, nodes, tail_from, lanes: 1, ..Manifest::default() };
        owner.commit(next, Vec::new()).await.unwrap();
    }
    owner
}

#[tokio::test]
async fn a_commit_of_another_history_is_no_part_of_this_one() {
    let (ours, theirs) = (Arc::new(Objects::default()), Arc::new(Objects::default()));
    let shared = |objects: &Arc<Objects>| -> Arc<dyn StateStore> { Arc::<Objects>::clone(objects) };
    let owner = committed(&shared(&ours), 1, 4).await;
    committed(&shared(&theirs), 2, 4).await;
    recover(&shared(&ours), owner.head()).await.unwrap();
    let other = theirs.all()[&commit_name(3)].clone();
    ours.all().insert(commit_name(3), other);
    let error = recover(&shared(&ours), owner.head()).await.unwrap_err();
    assert!(error.message().contains("does not follow"), "{error}");
    ours.all().remove(&commit_name(3));
    let error = recover(&shared(&ours), owner.head()).await.unwrap_err();
    assert!(error.message().contains("lacks commits/"), "{error}");
}

#[test]
fn state_is_dropped_or_begun_only_by_name() {
    let before = take_over(None, 1, vec![node("a", "A"), node("b", "B")], &Discard::default());
    let before = Manifest { number: 1, ..before.unwrap() };
    let next = |nodes: &[NodeRecord], owners: &[&str]| {
        let owners = owners.iter().map(|owner| (*owner).to_owned()).collect();
        take_over(Some(&before), 2, nodes.to_vec(), &Discard { owners, all: false })
    };
    let (a, b, c) = (node("a", "A"), node("b", "B"), node("c", "B"));
    assert!(next(&[a.clone(), b], &[]).is_ok());
    // The query of B is another one: its state is gone, and it begins anew.
    let changed = [a.clone(), c];
    let error = next(&changed, &[]).unwrap_err();
    assert!(error.message().contains("of B is gone") && error.message().contains("of B is new"));
    assert!(next(&changed, &["A"]).is_err());
    let taken = next(&changed, &["b"]).unwrap();
    assert_eq!(taken.nodes.iter().map(|node| node.since).collect::<Vec<_>>(), [1, 2]);
    assert!(next(&[a], &[]).is_err());
}

#[tokio::test]
async fn a_state_that_was_put_back_is_refused_until_it_begins_anew() {
    let objects = Arc::new(Objects::default());
    let store: Arc<dyn StateStore> = Arc::<Objects>::clone(&objects);
    let owner = committed(&store, 1, 5).await;
    owner.mark_published().await;
    let claim = |seed: u64, all: bool| {
        let discard = Discard { all, ..Discard::default() };
        let prepare = move |before: Option<&Manifest>, number| {
            take_over(before, number, Vec::new(), &discard)
        };
        Owner::claim(Arc::clone(&store), Arc::new(ManualClock::new(0)), seed, prepare)
    };
    for gone in [6, 5, 4, 3, 2, 1] {
        objects.all().remove(&commit_name(gone));
        let error = claim(2, false).await.unwrap_err();
        assert!(error.message().contains("the output of commit 6 is published"), "{error}");
    }
    let fresh = claim(3, true).await.unwrap();
    assert_eq!((fresh.head().number, fresh.head().tail_from), (7, 7));
    recover(&store, fresh.head()).await.unwrap();
    let again = claim(4, false).await.unwrap();
    assert_eq!((again.head().number, again.head().tail_from), (8, 7));
    recover(&store, again.head()).await.unwrap();
    assert_eq!(store.list(MARKERS).await.unwrap().len(), 1);
}
