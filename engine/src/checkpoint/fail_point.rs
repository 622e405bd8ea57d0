//! Places where a process can be made to die, to find out what becomes of its application.
//!
//! One lies behind every step of the protocol ([`super::protocol`]): what was done until there is done,
//! what follows is not. A test arms one in the program it starts; nothing is armed otherwise, and a
//! program built for use has none.

use std::sync::atomic::{AtomicU32, Ordering};

/// A step after which a process may die.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FailPoint {
    /// The newest commit was read, nothing claimed.
    ClaimRead,
    /// The application is claimed, its state not read yet.
    Claimed,
    /// The state was read, and the files that it closed are not published yet.
    Recovered,
    /// An epoch's state was taken out.
    SnapshotTaken,
    /// The commit is encoded, and not created.
    CommitEncoded,
    /// The commit is created, and the owner does not know yet.
    CommitCreated,
    /// The commit is settled, and it was not looked whether another process is ahead.
    CommitSettled,
    /// Nobody is ahead; nothing is published.
    CommitOwned,
    /// One file of a commit is published.
    FilePublished,
    /// All are published, and it is not said.
    Published,
    /// The marker says so.
    Marked,
    /// A base is encoded, and not created.
    BaseEncoded,
    /// A base is created, and no commit names it.
    BaseCreated,
    /// A commit names the base; one of the older ones is removed.
    CommitRemoved,
    /// All older commits are removed, not the older bases and markers.
    CommitsRemoved,
}

impl FailPoint {
    /// All of them.
    pub const ALL: [Self; 15] = [
        Self::ClaimRead,
        Self::Claimed,
        Self::Recovered,
        Self::SnapshotTaken,
        Self::CommitEncoded,
        Self::CommitCreated,
        Self::CommitSettled,
        Self::CommitOwned,
        Self::FilePublished,
        Self::Published,
        Self::Marked,
        Self::BaseEncoded,
        Self::BaseCreated,
        Self::CommitRemoved,
        Self::CommitsRemoved,
    ];

    /// Its name.
    pub fn name(self) -> String {
        format!("{self:?}")
    }

    /// The process dies here when it comes here for the `arrival`th time, counted from 1.
    pub fn arm(self, arrival: u32) {
        ARRIVALS.store(arrival, Ordering::Relaxed);
        ARMED.store(self as u32 + 1, Ordering::Relaxed);
    }

    /// The process has come here. Does nothing in a program built for use.
    pub fn reach(self) {
        let is_armed = cfg!(debug_assertions) && ARMED.load(Ordering::Relaxed) == self as u32 + 1;
        if is_armed && ARRIVALS.fetch_sub(1, Ordering::Relaxed) == 1 {
            // At once: no destructor runs, no buffer is written.
            std::process::abort();
        }
    }
}

/// Which one is armed, counted from 1.
static ARMED: AtomicU32 = AtomicU32::new(0);

/// How often it is still to be reached.
static ARRIVALS: AtomicU32 = AtomicU32::new(0);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_has_a_name_of_its_own_and_none_is_armed() {
        let mut names: Vec<String> = FailPoint::ALL.iter().map(|point| point.name()).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), FailPoint::ALL.len());
        // Still alive.
        FailPoint::ALL.iter().for_each(|point| point.reach());
    }
}
