//! Which shard may be read when: parents before children, each shard once. A pure state machine.
//!
//! ```text
//!   waiting ──(all parents drained)──► reading ──(end seen)──► drained
//!      │                                  └──(tip seen, run ends there)──► left
//!   skipped: closed before a run that starts at the tip; counts as drained
//! ```
//!
//! The invariant: [`Lineage::start_ready`] names a shard at most once, and only when every one of its
//! parents is drained, skipped, or known to have expired.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::api::ShardInfo;

/// How far a shard is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// A parent is not drained yet.
    Waiting,
    /// It is being read.
    Reading,
    /// It was read to its end.
    Drained,
    /// It was closed before the run, which starts later.
    Skipped,
    /// It was read as far as this run goes, which is not its end.
    Left,
}

#[derive(Debug)]
struct Shard {
    parents: Vec<Arc<str>>,
    state: State,
    /// Whether it was in a complete list, so that a parent unknown to us has expired. A parent of a
    /// shard we only heard of may itself be too new to be known.
    listed: bool,
    /// Whether it was in the first list: it may hold records from before the start.
    first: bool,
}

/// A shard whose turn it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Ready {
    /// Its id.
    pub(crate) id: Arc<str>,
    /// Its parents, as far as this run has read them.
    pub(crate) parents: Vec<Arc<str>>,
    /// Whether it existed when the run began.
    pub(crate) first: bool,
}

/// All shards of a stream that this run has heard of.
#[derive(Debug, Default)]
pub(crate) struct Lineage {
    shards: BTreeMap<Arc<str>, Shard>,
}

impl Lineage {
    /// The shards of a stream at the start of a run; `skip_closed` leaves out those that take no
    /// more records.
    pub(crate) fn new(listed: &[ShardInfo], skip_closed: bool) -> Self {
        let mut lineage = Self::default();
        lineage.insert(listed, true);
        for info in listed {
            if let Some(shard) = lineage.shards.get_mut(&info.id) {
                shard.first = true;
                if skip_closed && info.closed {
                    shard.state = State::Skipped;
                }
            }
        }
        lineage
    }

    /// These shards were read to their ends in an earlier run.
    pub(crate) fn drained_before(&mut self, ids: impl IntoIterator<Item = Arc<str>>) {
        for id in ids {
            let shard = self.shards.entry(id).or_insert_with(|| Shard {
                parents: Vec::new(),
                state: State::Drained,
                listed: true,
                first: false,
            });
            shard.state = State::Drained;
        }
    }

    /// These shards were passed over by an earlier run, and are by this one.
    pub(crate) fn passed_before(&mut self, ids: &[Arc<str>]) {
        for id in ids {
            if let Some(shard) = self.shards.get_mut(id) {
                shard.state = State::Skipped;
            }
        }
    }

    /// Takes in a complete list of the stream's shards.
    pub(crate) fn list(&mut self, listed: &[ShardInfo]) {
        self.insert(listed, true);
    }

    /// Takes in shards that were mentioned.
    pub(crate) fn hear_of(&mut self, mentioned: &[ShardInfo]) {
        self.insert(mentioned, false);
    }

    fn insert(&mut self, infos: &[ShardInfo], listed: bool) {
        for info in infos {
            let shard = self.shards.entry(Arc::clone(&info.id)).or_insert_with(|| Shard {
                parents: info.parents.clone(),
                state: State::Waiting,
                listed,
                first: false,
            });
            shard.listed |= listed;
        }
    }

    /// The shard was read to its end.
    pub(crate) fn drain(&mut self, id: &str) {
        self.set(id, State::Drained);
    }

    /// The shard was read as far as this run goes.
    pub(crate) fn leave(&mut self, id: &str) {
        self.set(id, State::Left);
    }

    fn set(&mut self, id: &str, state: State) {
        if let Some(shard) = self.shards.get_mut(id) {
            debug_assert_eq!(shard.state, State::Reading, "{id} ends without being read");
            shard.state = state;
        }
    }

    /// The shards whose turn has come, which are being read from now on.
    pub(crate) fn start_ready(&mut self) -> Vec<Ready> {
        let waiting = self.shards.iter().filter(|(_, shard)| shard.state == State::Waiting);
        let ready: Vec<Ready> = waiting
            .filter(|(_, shard)| shard.parents.iter().all(|id| self.is_behind(shard, id)))
            .map(|(id, shard)| Ready {
                id: Arc::clone(id),
                parents: shard.parents.iter().filter(|id| self.was_read(id)).cloned().collect(),
                first: shard.first,
            })
            .collect();
        for Ready { id, .. } in &ready {
            if let Some(shard) = self.shards.get_mut(id) {
                shard.state = State::Reading;
            }
        }
        ready
    }

    /// Whether nothing of `parent` is left to be read before its child `shard`.
    fn is_behind(&self, shard: &Shard, parent: &str) -> bool {
        match self.shards.get(parent) {
            Some(parent) => matches!(parent.state, State::Drained | State::Skipped),
            None => shard.listed,
        }
    }

    fn was_read(&self, id: &str) -> bool {
        self.shards.get(id).is_some_and(|shard| shard.state == State::Drained)
    }

    /// Whether a shard that continues `id` is known.
    pub(crate) fn has_child(&self, id: &str) -> bool {
        self.shards.values().any(|shard| shard.parents.iter().any(|parent| **parent == *id))
    }

    /// Whether a shard waits for a parent that only a complete list can tell about.
    pub(crate) fn needs_list(&self) -> bool {
        let waiting = self.shards.values().filter(|shard| shard.state == State::Waiting);
        waiting
            .filter(|shard| !shard.listed)
            .any(|shard| shard.parents.iter().any(|parent| !self.shards.contains_key(parent)))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{HashMap, HashSet};

    use proptest::prelude::*;
    use proptest::sample::Index;

    use super::*;

    fn shard(id: usize, parents: &[usize], closed: bool) -> ShardInfo {
        let name = |id: &usize| -> Arc<str> { format!("shard-{id}").into() };
        let parents = parents.iter().map(name).collect();
        ShardInfo { id: name(&id), parents, closed, first_number: None }
    }

    fn ids(ready: &[Ready]) -> Vec<&str> {
        ready.iter().map(|ready| &*ready.id).collect()
    }

    #[test]
    fn a_merged_shard_waits_for_both_parents() {
        let shards = [shard(0, &[], true), shard(1, &[], true), shard(2, &[0, 1], false)];
        let mut lineage = Lineage::new(&shards, false);
        assert_eq!(ids(&lineage.start_ready()), ["shard-0", "shard-1"]);
        lineage.drain("shard-0");
        assert!(lineage.start_ready().is_empty());
        lineage.drain("shard-1");
        let ready = lineage.start_ready();
        assert_eq!(ids(&ready), ["shard-2"]);
        assert_eq!(ready[0].parents.len(), 2);
    }

    #[test]
    fn expired_parents_hold_nobody_up() {
        let mut lineage = Lineage::new(&[shard(7, &[3], false)], false);
        let ready = lineage.start_ready();
        assert_eq!(ids(&ready), ["shard-7"]);
        assert!(ready[0].parents.is_empty(), "a parent that was never read is no partition");
    }

    #[test]
    fn a_parent_too_new_to_be_known_is_not_taken_for_expired() {
        let mut lineage = Lineage::new(&[shard(0, &[], false)], false);
        lineage.start_ready();
        lineage.drain("shard-0");
        // 0 was split into 1 and 2, and 2 merged with 1 into 3 before we looked.
        lineage.hear_of(&[shard(3, &[1, 2], false)]);
        assert!(lineage.start_ready().is_empty() && lineage.needs_list());
        lineage.list(&[shard(1, &[0], true), shard(2, &[0], true), shard(3, &[1, 2], false)]);
        assert_eq!(ids(&lineage.start_ready()), ["shard-1", "shard-2"]);
        assert!(!lineage.needs_list());
    }

    #[test]
    fn a_run_from_the_tip_skips_what_was_closed_before() {
        let shards = [shard(0, &[], true), shard(1, &[0], false)];
        let mut lineage = Lineage::new(&shards, true);
        let ready = lineage.start_ready();
        assert_eq!(ids(&ready), ["shard-1"]);
        assert!(ready[0].first && ready[0].parents.is_empty());
    }

    /// What happens to a stream, or to its reader.
    #[derive(Debug, Clone)]
    enum Step {
        Split(Index),
        Merge(Index, Index),
        /// The reader sees the end of a closed shard it reads; it hears of the children or not.
        Drain(Index, bool),
        /// The reader lists the shards.
        List,
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            2 => any::<Index>().prop_map(Step::Split),
            2 => any::<(Index, Index)>().prop_map(|(a, b)| Step::Merge(a, b)),
            3 => any::<(Index, bool)>().prop_map(|(shard, hear)| Step::Drain(shard, hear)),
            1 => Just(Step::List),
        ];
        proptest::collection::vec(step, 0..120)
    }

    /// A stream that is split and merged while it is read, with the reader's obligations checked.
    struct World {
        shards: Vec<ShardInfo>,
        lineage: Lineage,
        reading: Vec<usize>,
        drained: HashSet<usize>,
        started: HashMap<usize, usize>,
    }

    impl World {
        fn new(count: usize) -> Self {
            let shards: Vec<_> = (0..count).map(|id| shard(id, &[], false)).collect();
            let lineage = Lineage::new(&shards, false);
            let (reading, drained) = (Vec::new(), HashSet::new());
            let mut world = Self { shards, lineage, reading, drained, started: HashMap::new() };
            world.start();
            world
        }

        fn open(&self, index: Index) -> usize {
            let open: Vec<_> = (0..self.shards.len()).filter(|i| !self.shards[*i].closed).collect();
            open[index.index(open.len())]
        }

        fn close(&mut self, parents: &[usize], children: usize) {
            for parent in parents {
                self.shards[*parent].closed = true;
            }
            for _ in 0..children {
                self.shards.push(shard(self.shards.len(), parents, false));
            }
        }

        fn start(&mut self) {
            for ready in self.lineage.start_ready() {
                let id = self.shards.iter().position(|shard| shard.id == ready.id).unwrap();
                let name = |id: &usize| Arc::clone(&self.shards[*id].id);
                let drained: Vec<_> = self.drained.iter().map(name).collect();
                for parent in &self.shards[id].parents {
                    assert!(drained.contains(parent), "{} started before {parent}", ready.id);
                }
                assert_eq!(ready.parents, self.shards[id].parents);
                *self.started.entry(id).or_default() += 1;
                self.reading.push(id);
            }
        }

        fn at_their_end(&self) -> Vec<usize> {
            self.reading.iter().copied().filter(|id| self.shards[*id].closed).collect()
        }

        fn drain(&mut self, id: usize, hear: bool) {
            self.reading.retain(|other| *other != id);
            self.drained.insert(id);
            let name = Arc::clone(&self.shards[id].id);
            self.lineage.drain(&name);
            if hear {
                let children: Vec<_> =
                    self.shards.iter().filter(|s| s.parents.contains(&name)).cloned().collect();
                self.lineage.hear_of(&children);
                assert!(self.lineage.has_child(&name));
            }
            self.start();
        }
    }

    proptest! {
        #[test]
        fn every_shard_is_read_once_and_after_its_parents(count in 1..5_usize, steps in steps()) {
            let mut world = World::new(count);
            for step in steps {
                match step {
                    Step::Split(index) => {
                        let parent = world.open(index);
                        world.close(&[parent], 2);
                    }
                    Step::Merge(a, b) => {
                        let (a, b) = (world.open(a), world.open(b));
                        if a != b {
                            world.close(&[a, b], 1);
                        }
                    }
                    Step::Drain(index, hear) => {
                        let closed = world.at_their_end();
                        if !closed.is_empty() {
                            world.drain(closed[index.index(closed.len())], hear);
                        }
                    }
                    Step::List => {
                        world.lineage.list(&world.shards.clone());
                        world.start();
                    }
                }
            }
            // Everything closed is drained in the end; then every shard has been read.
            for _ in 0..=world.shards.len() {
                world.lineage.list(&world.shards.clone());
                world.start();
                if let Some(id) = world.at_their_end().first().copied() {
                    world.drain(id, false);
                }
            }
            prop_assert_eq!(world.started.len(), world.shards.len());
            prop_assert!(world.started.values().all(|times| *times == 1));
        }
    }
}
