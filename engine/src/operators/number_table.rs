//! Numbers found by the hash of what they stand for.
//!
//! An open table of eight bytes a slot, probed one slot after another from the one that the hash names.
//! The slots are in the order of the hashes, so that the table grows in one pass over its memory.
//!
//! State of many keys is far larger than the caches, and what a probe costs is the wait for memory.
//! So probes come in batches, and the slots of a batch are read before any of them is looked at:
//! reads that do not depend on one another are under way at the same time.
//!
//! Source: Chen et al., "Improving Hash Join Performance through Prefetching", ICDE 2004 (group
//! prefetching).

use std::hint::black_box;

/// No number.
pub(super) const NONE: u32 = u32::MAX;

/// How many hashes are read ahead together; their slots and what they lead to stay in the nearest cache.
pub(super) const AHEAD: usize = 256;

/// The table has never fewer slots, once it has any.
const SLOTS_MIN: usize = 8;

#[derive(Debug, Clone, Copy)]
struct Slot {
    hash: u32,
    /// [`NONE`] in a free slot.
    number: u32,
}

const FREE: Slot = Slot { hash: 0, number: NONE };

/// Numbers by the hash of what they stand for. More than one may have the same hash.
#[derive(Debug, Default)]
pub(super) struct NumberTable {
    /// At least a quarter of them is free.
    slots: Vec<Slot>,
    len: usize,
}

/// The half of a hash that a table keeps.
pub(super) fn half(hash: u64) -> u32 {
    u32::try_from(hash >> 32).unwrap_or(NONE)
}

impl NumberTable {
    /// How many numbers there are.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Makes room for this many numbers in all.
    pub(super) fn reserve(&mut self, numbers: usize) {
        let slots = numbers + numbers / 3 + 1;
        if slots > self.slots.len() {
            self.resize(slots.max(SLOTS_MIN));
        }
    }

    /// Which of `parts` equal parts of the table a hash belongs to.
    pub(super) fn part(hash: u32, parts: usize) -> usize {
        scaled(hash, parts)
    }

    /// Reads what the hashes name, so that what is done with them next does not wait for each in turn.
    /// For a few hundred at most: what is read ahead is to stay in the cache.
    fn read_ahead(&self, hashes: impl Iterator<Item = u32>) {
        let read = |all: u32, hash: u32| match self.slots.get(self.home(hash)) {
            Some(slot) => all ^ slot.number,
            None => all,
        };
        black_box(hashes.fold(0, read));
    }

    /// The first number of each of these hashes; [`NONE`] where there is none.
    pub(super) fn first_of(&self, hashes: &[u32]) -> Vec<u32> {
        let mut first = Vec::with_capacity(hashes.len());
        for hashes in hashes.chunks(AHEAD) {
            self.read_ahead(hashes.iter().copied());
            first.extend(hashes.iter().map(|hash| self.first(*hash)));
        }
        first
    }

    /// The first number of this hash; [`NONE`] if there is none.
    pub(super) fn first(&self, hash: u32) -> u32 {
        self.slot_of(hash, |_| true).map_or(NONE, |slot| self.slots[slot].number)
    }

    /// The number of this hash that comes after `number`; [`NONE`] after the last.
    pub(super) fn after(&self, hash: u32, number: u32) -> u32 {
        let mut passed = false;
        let next = |other: u32| {
            let is_next = passed;
            passed |= other == number;
            is_next
        };
        self.slot_of(hash, next).map_or(NONE, |slot| self.slots[slot].number)
    }

    /// Puts `number` in the place of the only number of this hash and returns that; [`NONE`] if there
    /// was none.
    fn put_first(&mut self, hash: u32, number: u32) -> u32 {
        if let Some(slot) = self.slot_of(hash, |_| true) {
            return std::mem::replace(&mut self.slots[slot].number, number);
        }
        self.insert(hash, number);
        NONE
    }

    /// Puts numbers in a row, from `first` on, each in the place of the only one of its hash. Returns what
    /// was there before each.
    pub(super) fn put_all(&mut self, hashes: &[u64], first: u32) -> Vec<u32> {
        let mut before = Vec::with_capacity(hashes.len());
        let mut numbers = first..;
        for hashes in hashes.chunks(AHEAD) {
            self.read_ahead(hashes.iter().map(|hash| half(*hash)));
            let each = hashes.iter().zip(numbers.by_ref());
            before.extend(each.map(|(hash, number)| self.put_first(half(*hash), number)));
        }
        before
    }

    /// Puts `new` in the place of a number of this hash; [`NONE`] forgets it.
    pub(super) fn replace(&mut self, hash: u32, number: u32, new: u32) {
        if new == NONE {
            self.remove(hash, number);
        } else if let Some(slot) = self.slot_of(hash, |other| other == number) {
            self.slots[slot].number = new;
        }
    }

    /// Adds a number that is not there.
    pub(super) fn insert(&mut self, hash: u32, number: u32) {
        if (self.len + 1) * 4 > self.slots.len() * 3 {
            // Half as much again: a number is moved three times at most in the long run.
            self.resize((self.slots.len() + self.slots.len() / 2).max(SLOTS_MIN));
        }
        self.put(Slot { hash, number });
        self.len += 1;
    }

    /// Forgets a number of this hash. Returns whether it was there.
    pub(super) fn remove(&mut self, hash: u32, number: u32) -> bool {
        let Some(mut free) = self.slot_of(hash, |other| other == number) else { return false };
        // What was pushed on from its home by the one that is gone moves up.
        let mut at = self.next(free);
        while self.slots[at].number != NONE {
            let home = self.home(self.slots[at].hash);
            if self.distance(home, at) >= self.distance(free, at) {
                self.slots[free] = self.slots[at];
                free = at;
            }
            at = self.next(at);
        }
        self.slots[free] = FREE;
        self.len -= 1;
        true
    }

    pub(super) fn memory_bytes(&self) -> usize {
        self.slots.capacity() * size_of::<Slot>()
    }

    /// The first slot of this hash whose number is wanted. The search ends at a free slot, and there is
    /// one.
    fn slot_of(&self, hash: u32, mut is_wanted: impl FnMut(u32) -> bool) -> Option<usize> {
        let mut at = self.home(hash);
        loop {
            let slot = self.slots.get(at)?;
            if slot.number == NONE {
                return None;
            }
            if slot.hash == hash && is_wanted(slot.number) {
                return Some(at);
            }
            at = self.next(at);
        }
    }

    fn put(&mut self, slot: Slot) {
        let mut at = self.home(slot.hash);
        while self.slots[at].number != NONE {
            at = self.next(at);
        }
        self.slots[at] = slot;
    }

    fn resize(&mut self, slots: usize) {
        let old = std::mem::replace(&mut self.slots, vec![FREE; slots]);
        old.into_iter().filter(|slot| slot.number != NONE).for_each(|slot| self.put(slot));
    }

    fn home(&self, hash: u32) -> usize {
        scaled(hash, self.slots.len())
    }

    fn next(&self, at: usize) -> usize {
        if at + 1 == self.slots.len() { 0 } else { at + 1 }
    }

    /// How many slots on from `from` the slot `to` is.
    fn distance(&self, from: usize, to: usize) -> usize {
        if from <= to { to - from } else { to + self.slots.len() - from }
    }
}

/// The hash as a number below `end`, in the order of the hashes. Source: Lemire, "Fast Random Integer
/// Generation in an Interval", ACM TOMACS 29 (2019).
fn scaled(hash: u32, end: usize) -> usize {
    usize::try_from((u64::from(hash) * end as u64) >> 32).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    /// Hashes that meet: few of them, at the ends of their range and close together.
    fn hash() -> impl Strategy<Value = u32> {
        prop_oneof![0..4_u32, (u32::MAX - 3)..=u32::MAX, (1 << 31)..(1_u32 << 31) + 4, any::<u32>()]
    }

    fn all_of(table: &NumberTable, hash: u32) -> Vec<u32> {
        let mut all = Vec::new();
        let mut number = table.first(hash);
        while number != NONE {
            all.push(number);
            number = table.after(hash, number);
        }
        all.sort_unstable();
        all
    }

    proptest! {
        /// The table is the map from hashes to sets of numbers, whatever comes and goes.
        #[test]
        fn it_is_a_map_of_sets(changes in prop::collection::vec((hash(), any::<bool>()), 1..300)) {
            let mut table = NumberTable::default();
            let mut model: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
            for (number, (hash, adds)) in (0..).zip(changes) {
                let of_hash = model.entry(hash).or_default();
                if adds || of_hash.is_empty() {
                    table.insert(hash, number);
                    of_hash.push(number);
                } else {
                    let number = of_hash.remove(of_hash.len() / 2);
                    prop_assert!(table.remove(hash, number));
                    prop_assert!(!table.remove(hash, number));
                }
                prop_assert_eq!(table.len(), model.values().map(Vec::len).sum::<usize>());
                prop_assert!(table.len() * 4 <= table.slots.len() * 3);
            }
            for (hash, numbers) in &model {
                prop_assert_eq!(&all_of(&table, *hash), numbers);
            }
            let hashes: Vec<u32> = model.keys().copied().collect();
            for (number, numbers) in table.first_of(&hashes).into_iter().zip(model.values()) {
                prop_assert_eq!(number == NONE, numbers.is_empty());
                prop_assert!(number == NONE || numbers.contains(&number));
            }
        }
    }

    #[test]
    fn an_empty_table_has_nothing_and_takes_no_memory() {
        let table = NumberTable::default();
        assert_eq!(table.first_of(&[0, NONE]), [NONE, NONE]);
        assert_eq!((table.memory_bytes(), table.is_empty()), (0, true));
    }

    #[test]
    fn what_a_number_took_the_place_of_is_said() {
        let mut table = NumberTable::default();
        let hashes: Vec<u64> = (0..1000).map(|n| (n % 300) << 32).collect();
        let expected: Vec<u32> = (0..1000).map(|n| n - 300.min(n)).collect();
        let before = table.put_all(&hashes, 0);
        assert!(before[..300].iter().all(|before| *before == NONE));
        assert_eq!(before[300..], expected[300..]);
        assert_eq!(table.len(), 300);
    }

    #[test]
    fn room_made_beforehand_is_enough() {
        let mut table = NumberTable::default();
        table.reserve(1000);
        let before = table.memory_bytes();
        (0..1000).for_each(|number| table.insert(number << 20, number));
        assert_eq!(table.memory_bytes(), before);
    }
}
