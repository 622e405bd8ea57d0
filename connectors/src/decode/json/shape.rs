//! What stands between the values of a producer's objects.
//!
//! A program writes its records with the same keys in nearly the same order, and always with the
//! same white space. So what stands before a value, `,"price":`, is learned with what it leads to,
//! and one comparison of bytes replaces reading the key and looking it up.

use super::Found;

/// Texts that are remembered of a kind of object; producers with more of them are read slowly.
const KEYS_MAX: usize = 256;

/// Texts that are tried in one place, as where a key may be left out.
const FOLLOWERS_MAX: usize = 8;

/// The texts before the values of one kind of object, as a graph: each is followed by some others.
#[derive(Debug, Clone)]
pub(super) struct Shape {
    keys: Vec<Key>,
}

/// A text before a value.
#[derive(Debug, Clone)]
struct Key {
    /// From behind the value before (or from the object's beginning) up to the value.
    before: Box<[u8]>,
    found: Option<Found>,
    /// What was seen to stand behind the value.
    followers: Vec<usize>,
}

/// A place in an object: behind the value of one of its keys, or at its beginning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place(usize);

impl Place {
    /// Before the first key.
    pub(super) const BEGINNING: Self = Self(0);
}

impl Default for Shape {
    fn default() -> Self {
        let beginning = Key { before: Box::default(), found: None, followers: Vec::new() };
        Self { keys: vec![beginning] }
    }
}

impl Shape {
    /// The key that `rest` begins with, if it is known to stand behind `place`: where its value
    /// begins in `rest`, what it leads to, and the place behind its value.
    pub(super) fn follow(
        &self,
        place: Place,
        rest: &[u8],
    ) -> Option<(usize, Option<Found>, Place)> {
        let mut followers = self.keys[place.0].followers.iter();
        let key = followers.find(|key| rest.starts_with(&self.keys[**key].before))?;
        let Key { before, found, .. } = &self.keys[*key];
        Some((before.len(), *found, Place(*key)))
    }

    /// Remembers that `before` stands behind `place` and leads to `found`. `None` if there is no room
    /// for it, so that nothing can be remembered of what comes behind.
    pub(super) fn learn(
        &mut self,
        place: Place,
        before: &[u8],
        found: Option<Found>,
    ) -> Option<Place> {
        let known = self.keys[1..].iter().position(|key| *key.before == *before);
        let key = match known {
            Some(known) => known + 1,
            None if self.keys.len() > KEYS_MAX => return None,
            None => {
                self.keys.push(Key { before: before.into(), found, followers: Vec::new() });
                self.keys.len() - 1
            }
        };
        let followers = &mut self.keys[place.0].followers;
        if !followers.contains(&key) && followers.len() < FOLLOWERS_MAX {
            followers.push(key);
        }
        Some(Place(key))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_that_may_be_left_out_is_one_more_follower() {
        let mut shape = Shape::default();
        let found = |target| Some(Found { target, exact: true });
        let a = shape.learn(Place::BEGINNING, b"{\"a\":", found(0)).unwrap();
        let b = shape.learn(a, b",\"b\":", None).unwrap();
        let c = shape.learn(b, b",\"c\":", found(1)).unwrap();
        assert_eq!(shape.learn(a, b",\"c\":", found(1)), Some(c));

        let (value, leads_to, place) = shape.follow(a, b",\"c\":5}").unwrap();
        assert_eq!((value, leads_to.map(|found| found.target), place), (5, Some(1), c));
        assert!(shape.follow(Place::BEGINNING, b",\"c\":5}").is_none());
        assert!(shape.follow(a, b", \"c\":5}").is_none());
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut shape = Shape::default();
        for number in 0..10 * KEYS_MAX {
            let _place =
                shape.learn(Place::BEGINNING, format!("{{\"k{number}\":").as_bytes(), None);
        }
        assert_eq!(shape.keys.len(), KEYS_MAX + 1);
        assert_eq!(shape.keys[0].followers.len(), FOLLOWERS_MAX);
    }
}
