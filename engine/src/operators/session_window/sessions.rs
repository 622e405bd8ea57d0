//! Which rows are of one session, per key; and which sessions are over.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::hash::BuildHasher;

use hashbrown::{DefaultHashBuilder, HashTable};

use crate::watermark::Watermark;

/// Where a row is: its batch in the store, and its place in that.
pub(super) type Row = (u64, usize);

/// A session that is over.
#[derive(Debug)]
pub(super) struct Over {
    key: Box<[u8]>,
    pub(super) start: i64,
    pub(super) end: i64,
    /// In the order in which they came.
    pub(super) rows: Vec<Row>,
}

#[derive(Debug)]
struct Session {
    start: i64,
    last: i64,
    rows: Vec<Row>,
}

/// The sessions of a key that are not over, in the order of their times.
#[derive(Debug)]
struct OfKey {
    key: Box<[u8]>,
    hash: u64,
    sessions: Vec<Session>,
    /// Under which it stands in the queue; older entries of it mean nothing.
    due: i64,
}

/// The open sessions of all keys.
#[derive(Debug)]
pub(super) struct Sessions {
    gap: i64,
    hasher: DefaultHashBuilder,
    /// The numbers of the keys.
    numbers: HashTable<u32>,
    keys: Vec<Option<OfKey>>,
    /// Numbers that no key has any more.
    vacant: Vec<u32>,
    /// Each key, no later than its first session ends.
    due: BinaryHeap<Reverse<(i64, u32)>>,
}

impl Sessions {
    pub(super) fn new(gap: i64) -> Self {
        Self {
            gap,
            hasher: DefaultHashBuilder::default(),
            numbers: HashTable::new(),
            keys: Vec::new(),
            vacant: Vec::new(),
            due: BinaryHeap::new(),
        }
    }

    /// Adds a row of `key`.
    pub(super) fn add(&mut self, key: &[u8], time: i64, row: Row) {
        let number = self.number(key);
        let gap = self.gap;
        let Some(Some(of_key)) = self.keys.get_mut(number as usize) else { return };
        put(&mut of_key.sessions, gap, time, row);
        // A row out of order may begin a session that ends before all others.
        let first =
            of_key.sessions.first().map_or(i64::MAX, |first| first.last.saturating_add(gap));
        if first < of_key.due {
            of_key.due = first;
            self.due.push(Reverse((first, number)));
        }
    }

    fn number(&mut self, key: &[u8]) -> u32 {
        let hash = self.hasher.hash_one(key);
        let keys = &self.keys;
        let is = |number: &u32| {
            keys.get(*number as usize)
                .is_some_and(|of| of.as_ref().is_some_and(|of| *of.key == *key))
        };
        if let Some(number) = self.numbers.find(hash, is) {
            return *number;
        }
        let of_key = Some(OfKey { key: key.into(), hash, sessions: Vec::new(), due: i64::MAX });
        let number = match self.vacant.pop() {
            Some(number) => {
                self.keys[number as usize] = of_key;
                number
            }
            None => {
                self.keys.push(of_key);
                // Fewer keys than rows, and the rows of a lane fit into memory.
                u32::try_from(self.keys.len() - 1).unwrap_or(u32::MAX)
            }
        };
        let keys = &self.keys;
        let hash_of = |number: &u32| {
            keys.get(*number as usize).and_then(Option::as_ref).map_or(0, |of| of.hash)
        };
        self.numbers.insert_unique(hash, number, hash_of);
        number
    }

    /// Takes out the sessions that the watermark has passed, in the order of their ends.
    pub(super) fn over(&mut self, watermark: Watermark) -> Vec<Over> {
        let mut over = Vec::new();
        while let Some(Reverse((due, number))) = self.due.peek().copied()
            && is_passed(due, watermark)
        {
            self.due.pop();
            let Some(slot) = self.keys.get_mut(number as usize) else { continue };
            let Some(of_key) = slot.as_mut().filter(|of_key| of_key.due == due) else { continue };
            let gap = self.gap;
            let open = |session: &Session| !is_passed(session.last.saturating_add(gap), watermark);
            let first = of_key.sessions.iter().position(open).unwrap_or(of_key.sessions.len());
            over.extend(of_key.sessions.drain(..first).map(|session| Over {
                key: of_key.key.clone(),
                start: session.start,
                end: session.last.saturating_add(gap),
                rows: session.rows,
            }));
            match of_key.sessions.first() {
                Some(next) => {
                    of_key.due = next.last.saturating_add(gap);
                    self.due.push(Reverse((of_key.due, number)));
                }
                None => {
                    let found = self.numbers.find_entry(of_key.hash, |known| *known == number);
                    if let Ok(entry) = found {
                        entry.remove();
                    }
                    *slot = None;
                    self.vacant.push(number);
                }
            }
        }
        over.sort_unstable_by(|a, b| (a.end, a.start, &a.key).cmp(&(b.end, b.start, &b.key)));
        over
    }

    /// Follows rows that the store has moved.
    pub(super) fn moved(&mut self, moved: &dyn Fn(Row) -> Row) {
        let sessions = self.keys.iter_mut().flatten().flat_map(|of_key| &mut of_key.sessions);
        for row in sessions.flat_map(|session| &mut session.rows) {
            *row = moved(*row);
        }
    }

    pub(super) fn memory_bytes(&self) -> usize {
        let of_session =
            |session: &Session| size_of::<Session>() + session.rows.capacity() * size_of::<Row>();
        let of_key = |of: &OfKey| of.key.len() + of.sessions.iter().map(of_session).sum::<usize>();
        self.keys.iter().flatten().map(of_key).sum::<usize>()
            + self.keys.capacity() * size_of::<Option<OfKey>>()
            + self.numbers.allocation_size()
            + self.due.len() * size_of::<(i64, u32)>()
    }
}

/// Whether no row at `end` or before will come any more.
fn is_passed(end: i64, watermark: Watermark) -> bool {
    match watermark {
        Watermark::Unknown => false,
        Watermark::At(bound) => end < bound,
        Watermark::End => true,
    }
}

/// Adds a row to the session it belongs to; it may be the one that two sessions were apart by.
fn put(sessions: &mut Vec<Session>, gap: i64, time: i64, row: Row) {
    // Rows mostly come in order, so the last session is looked at first.
    let behind = sessions.iter().rposition(|session| session.start <= time);
    let next = behind.map_or(0, |at| at + 1);
    let joins_next = sessions.get(next).is_some_and(|s| s.start.saturating_sub(gap) <= time);
    let extends = behind.filter(|at| sessions[*at].last.saturating_add(gap) >= time);
    match (extends, joins_next) {
        (Some(at), true) => {
            let other = sessions.remove(next);
            let session = &mut sessions[at];
            session.last = other.last;
            session.rows.push(row);
            session.rows.extend(other.rows);
        }
        (Some(at), false) => {
            let session = &mut sessions[at];
            session.last = session.last.max(time);
            session.rows.push(row);
        }
        (None, true) => {
            let session = &mut sessions[next];
            session.start = time;
            session.rows.push(row);
        }
        (None, false) => {
            sessions.insert(next, Session { start: time, last: time, rows: vec![row] });
        }
    }
}
