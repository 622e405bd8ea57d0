//! Two processes at one folder, and what killed ones leave there.

use std::fs;
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{SystemTime, UNIX_EPOCH};

use millstream_engine::ManualClock;
use object_store::memory::InMemory;

use super::*;

fn file(number: usize) -> Complete {
    let bytes = vec![b'a' + u8::try_from(number % 26).unwrap(); 200_000];
    Complete { folders: vec!["f".into()], name: format!("{number}.csv"), bytes, rows: 1 }
}

#[test]
fn a_file_published_by_two_at_once_is_whole_from_the_first_moment() {
    let root = tempfile::tempdir().unwrap();
    let together = Barrier::new(2);
    // What is wrong is collected: a thread that ended early would leave the other one waiting.
    let publish = |writer: u64| {
        let folder = Folder { root: root.path().to_owned(), writer };
        let mut wrong = Vec::new();
        for number in 0..100 {
            let file = file(number);
            together.wait();
            if let Err(error) = folder.publish(&file) {
                wrong.push(format!("{number}: {error}"));
            }
            match fs::read(root.path().join("f").join(&file.name)) {
                Ok(seen) if seen == file.bytes => {}
                Ok(seen) => wrong.push(format!("{number} is another, of {} bytes", seen.len())),
                Err(error) => wrong.push(format!("{number}: {error}")),
            }
        }
        wrong
    };
    let wrong = thread::scope(|scope| {
        let other = scope.spawn(|| publish(1));
        [publish(2), other.join().unwrap()].concat()
    });
    assert_eq!(wrong, Vec::<String>::new());
    assert_eq!(fs::read_dir(root.path()).unwrap().count(), 1, "nothing hidden is left");
}

#[test]
fn what_killed_processes_left_is_removed_when_it_is_old() {
    let root = tempfile::tempdir().unwrap();
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
    let leave = |name: &str, age_ms: i64| {
        let file = fs::File::create(root.path().join(name)).unwrap();
        file.set_modified(now - Duration::from_millis(age_ms.unsigned_abs())).unwrap();
    };
    leave(".old.csv.0000000000000007.writing", ABANDONED_MS + 1);
    leave(".young.csv.0000000000000007.writing", ABANDONED_MS - 1);
    leave("old.csv", ABANDONED_MS + 1);
    leave(".hidden", ABANDONED_MS + 1);
    let folder = Folder { root: root.path().to_owned(), writer: 1 };
    let now_ms = i64::try_from(now.duration_since(UNIX_EPOCH).unwrap().as_millis()).unwrap();
    folder.remove_abandoned(now_ms);
    let names = fs::read_dir(root.path()).unwrap().map(|entry| entry.unwrap().file_name());
    let mut names: Vec<String> = names.map(|name| name.into_string().unwrap()).collect();
    names.sort();
    assert_eq!(names, [".hidden", ".young.csv.0000000000000007.writing", "old.csv"]);
}

fn in_store(store: &Arc<InMemory>, clock: &ManualClock) -> Store {
    Store {
        store: Arc::clone(store) as _,
        prefix: Path::from("p"),
        shown: "s3://b/p".to_owned(),
        clock: Arc::new(clock.clone()),
        troubles: Troubles::default(),
    }
}

#[tokio::test]
async fn an_object_is_created_once_and_meets_itself() {
    let store = Arc::new(InMemory::new());
    let place = Place::Store(in_store(&store, &ManualClock::new(0)));
    place.publish(file(1)).await.unwrap();
    // The answer was lost, and it is put again.
    place.publish(file(1)).await.unwrap();
    let other = Complete { bytes: b"another".to_vec(), ..file(1) };
    let error = place.publish(other).await.unwrap_err();
    assert!(error.message().ends_with("exists already, with other content"), "{error}");
    let found = store.get(&Path::from("p/f/1.csv")).await.unwrap().bytes().await.unwrap();
    assert_eq!(found, file(1).bytes);
}

/// A store that does not answer for a while is asked again, and meanwhile it is said; one that never
/// does is given up, as is what no waiting mends.
#[tokio::test]
async fn a_store_that_does_not_answer_is_asked_again_and_it_is_said() {
    let clock = ManualClock::new(0);
    let store = in_store(&Arc::new(InMemory::new()), &clock);
    for (failures, is_given_up) in [(3, false), (1_000, true)] {
        let asked = AtomicUsize::new(0);
        let call = || async {
            match asked.fetch_add(1, Ordering::Relaxed) < failures {
                true => Err(Error::retry("no answer")),
                false => Ok(()),
            }
        };
        let (ended, told) = (AtomicBool::new(false), AtomicUsize::new(0));
        let asking = async {
            let done = store.persistently(call).await;
            ended.store(true, Ordering::Relaxed);
            done
        };
        let watching = async {
            while !ended.load(Ordering::Relaxed) {
                assert_eq!(store.troubles.list(), ["no answer"]);
                told.fetch_add(1, Ordering::Relaxed);
                clock.advance(RETRY_PAUSE_MAX);
                tokio::task::yield_now().await;
            }
        };
        let (done, ()) = tokio::join!(asking, watching);
        assert_eq!(done.is_err(), is_given_up);
        assert!(told.into_inner() >= failures.min(60), "it was not told each time");
        assert!(store.troubles.list().is_empty(), "what is over is not said");
    }
    let wrong = store.persistently(|| async { Err(Error::settings("no such bucket")) }).await;
    assert_eq!(wrong.unwrap_err().message(), "no such bucket");
}
