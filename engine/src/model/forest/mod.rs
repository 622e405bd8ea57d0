//! Anomaly scores by a forest of random cuts: how differently the trees would look with the point.
//!
//! Each tree has a sample of the points so far, in which older ones are rarer. A point is scored and
//! then offered to every tree. What is random follows from the number of the point and that of the
//! tree, so a replay gives the same scores, whatever the cut into batches.
//!
//! Points go through one tree after another, a batch at a time: a tree fits into the fast part of the
//! memory, all of them do not.
//!
//! After "Robust Random Cut Forest Based Anomaly Detection On Streams", Guha, Mishra, Roy and Schrijvers,
//! 2016, and "`RANDOM_CUT_FOREST`" of the Kinesis Data Analytics SQL reference.

mod random;
mod tree;

use std::cmp::Ordering;
use std::collections::BinaryHeap;

use super::bytes::{Reader, Writer};
use random::Random;
use tree::Tree;

/// How a forest is grown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ForestOptions {
    /// How many trees there are.
    pub trees: usize,
    /// How many points a tree has.
    pub sample: usize,
    /// After how many points a point is about a third as likely to be in a sample.
    pub decay: u64,
    /// How many rows in a row are one point.
    pub shingle: usize,
}

impl Default for ForestOptions {
    /// The defaults of Kinesis Data Analytics.
    fn default() -> Self {
        Self { trees: 100, sample: 256, decay: 100_000, shingle: 1 }
    }
}

/// A forest.
#[derive(Debug)]
pub struct Forest {
    options: ForestOptions,
    /// Numbers in a row.
    width: usize,
    /// How many rows came.
    rows: u64,
    /// The numbers of the last rows, as many as make a point; fewer at the beginning.
    recent: Vec<f64>,
    trees: Vec<Sampled>,
}

/// A tree and why its points are in it: those with the least priorities so far.
#[derive(Debug, Default)]
struct Sampled {
    tree: Tree,
    priorities: BinaryHeap<Kept>,
    /// Whether it has changed since it was last written.
    is_changed: bool,
}

/// A point of a sample.
#[derive(Debug, Clone, Copy)]
struct Kept {
    priority: f64,
    leaf: u32,
}

impl PartialEq for Kept {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Kept {}

impl PartialOrd for Kept {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Kept {
    fn cmp(&self, other: &Self) -> Ordering {
        self.priority.total_cmp(&other.priority).then(self.leaf.cmp(&other.leaf))
    }
}

/// What a forest says of rows.
#[derive(Debug, Default)]
pub struct Scores {
    /// The score of each row: about 1 for one like the others, 0 while the forest learns.
    pub scores: Vec<f64>,
    /// For each row what each of its numbers adds to the score by being too high, then by being too
    /// low; empty if not asked for.
    pub shares: Vec<f64>,
}

impl Forest {
    /// A forest without points, for rows of `width` numbers.
    #[must_use]
    pub fn new(options: ForestOptions, width: usize) -> Self {
        let tree = |_| Sampled { tree: Tree::new(width * options.shingle), ..Sampled::default() };
        let trees = (0..options.trees).map(tree).collect();
        Self { options, width, rows: 0, recent: Vec::new(), trees }
    }

    /// Scores rows, one after another, and learns from them. `rows` holds the numbers of each.
    pub fn run(&mut self, rows: &[f64], explains: bool) -> Scores {
        let count = rows.len().checked_div(self.width).unwrap_or_default();
        let first = self.rows;
        let known = self.recent.len() / self.width.max(1);
        let mut points = std::mem::take(&mut self.recent);
        points.extend_from_slice(rows);
        let dimensions = self.width * self.options.shingle;
        // The point of a row ends with it; the first rows of all are none yet.
        let point = |row: usize| {
            let end = (known + row + 1) * self.width;
            end.checked_sub(dimensions).and_then(|start| points.get(start..end))
        };
        let decay = 1.0 / float(self.options.decay);
        let mut scores = vec![0.0; count];
        let mut shares = vec![0.0; if explains { count * 2 * dimensions } else { 0 }];
        let learning = u64::try_from(self.options.sample).unwrap_or(u64::MAX);
        for (number, sampled) in (0_u64..).zip(&mut self.trees) {
            for (row, score) in scores.iter_mut().enumerate() {
                let Some(point) = point(row) else { continue };
                let sequence = first + row as u64;
                if sequence >= learning {
                    let room = row * 2 * dimensions..(row + 1) * 2 * dimensions;
                    *score += sampled.tree.score(point, shares.get_mut(room).unwrap_or_default());
                }
                sampled.offer(point, (number, sequence), self.options.sample, decay);
            }
        }
        let trees = float(self.trees.len() as u64);
        scores.iter_mut().for_each(|score| *score /= trees);
        shares.iter_mut().for_each(|share| *share /= trees);
        self.rows += count as u64;
        let kept = dimensions.saturating_sub(self.width).min(points.len());
        self.recent = points.split_off(points.len() - kept);
        Scores { scores, shares: self.by_number(&shares, count) }
    }

    /// The shares of the numbers of a row, of all rows of its point together.
    fn by_number(&self, shares: &[f64], rows: usize) -> Vec<f64> {
        let dimensions = self.width * self.options.shingle;
        if self.options.shingle == 1 || shares.is_empty() {
            return shares.to_vec();
        }
        let mut summed = vec![0.0; rows * 2 * self.width];
        for (row, shares) in shares.chunks_exact(2 * dimensions).enumerate() {
            for (at, share) in shares.iter().enumerate() {
                let side = at / dimensions;
                summed[(row * 2 + side) * self.width + at % self.width] += share;
            }
        }
        summed
    }

    /// How many bytes it takes.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        let of = |sampled: &Sampled| {
            sampled.tree.memory_bytes() + sampled.priorities.capacity() * size_of::<Kept>()
        };
        self.trees.iter().map(of).sum::<usize>() + self.recent.capacity() * size_of::<f64>()
    }

    /// What has changed since it was last written: each with its number, which is that of the tree, or
    /// the number of trees for what they have in common.
    pub fn write(&mut self) -> Vec<(u64, Vec<u8>)> {
        let mut common = Writer::default();
        common.number(self.rows);
        common.floats(&self.recent);
        let mut parts = vec![(self.trees.len() as u64, common.into_bytes())];
        for (number, sampled) in (0_u64..).zip(&mut self.trees) {
            if std::mem::take(&mut sampled.is_changed) {
                let mut bytes = Writer::default();
                sampled.tree.write(&mut bytes);
                bytes.number(sampled.priorities.len() as u64);
                for Kept { priority, leaf } in &sampled.priorities {
                    bytes.float(*priority);
                    bytes.words(&[*leaf]);
                }
                parts.push((number, bytes.into_bytes()));
            }
        }
        parts
    }

    /// Makes the next writing one of everything.
    pub fn forget_written(&mut self) {
        self.trees.iter_mut().for_each(|sampled| sampled.is_changed = true);
    }

    /// Takes in a part that was written; says whether it is one.
    #[must_use]
    pub fn read(&mut self, number: u64, bytes: &[u8]) -> bool {
        let dimensions = self.width * self.options.shingle;
        let mut reader = Reader::new(bytes);
        let Some(sampled) =
            usize::try_from(number).ok().and_then(|number| self.trees.get_mut(number))
        else {
            let (Some(rows), Some(recent)) = (reader.number(), reader.floats()) else {
                return false;
            };
            (self.rows, self.recent) = (rows, recent);
            return true;
        };
        match Sampled::read(dimensions, &mut reader) {
            Some(known) => {
                *sampled = known;
                true
            }
            None => false,
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "counts of rows and trees; their ratios matter")]
fn float(count: u64) -> f64 {
    count as f64
}

impl Sampled {
    /// Takes the point in if its priority is among the least. A priority is `ln(-ln u) - decay · n`: the
    /// later a point comes, the likelier it stays.
    fn offer(&mut self, point: &[f64], at: (u64, u64), sample: usize, decay: f64) {
        let (number, sequence) = at;
        let seed = (number << 40) ^ sequence;
        let mut random = Random::new(seed.wrapping_mul(0xD1B5_4A32_D192_ED03));
        let unit = random.unit();
        let age = decay * float(sequence);
        let is_full = self.priorities.len() >= sample;
        // Most are not among the least: seen without a logarithm, as ln(1 - x) is at most -x.
        if is_full
            && let Some(worst) = self.priorities.peek()
            && unit >= (worst.priority + age).exp()
        {
            return;
        }
        let priority = (-(-unit).ln_1p()).ln() - age;
        if is_full {
            match self.priorities.peek() {
                Some(worst) if priority < worst.priority => {
                    let leaf = worst.leaf;
                    self.priorities.pop();
                    self.tree.remove(leaf);
                }
                _ => return,
            }
        }
        let leaf = self.tree.insert(point, &mut random);
        self.priorities.push(Kept { priority, leaf });
        self.is_changed = true;
    }

    fn read(dimensions: usize, from: &mut Reader<'_>) -> Option<Self> {
        let tree = Tree::read(dimensions, from)?;
        let mut priorities = Vec::new();
        for _ in 0..from.number()? {
            let priority = from.float()?;
            let [leaf] = from.words()?;
            priorities.push(Kept { priority, leaf });
        }
        let priorities = BinaryHeap::from(priorities);
        Some(Self { tree, priorities, is_changed: false })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn options() -> ForestOptions {
        ForestOptions { trees: 20, sample: 32, decay: 500, shingle: 1 }
    }

    /// Numbers around 80; every hundredth is around 170.
    fn rates(count: u32) -> Vec<f64> {
        let rate = |n: u32| {
            let noise = f64::from(n.wrapping_mul(2_654_435_761) >> 16) / 65_536.0;
            if n % 100 == 99 { 150.0 + 50.0 * noise } else { 60.0 + 40.0 * noise }
        };
        (0..count).map(rate).collect()
    }

    #[test]
    fn what_is_rare_scores_higher_and_the_first_rows_score_nothing() {
        let rates = rates(2_000);
        let mut forest = Forest::new(ForestOptions::default(), 1);
        let scores = forest.run(&rates, false).scores;
        assert!(scores[..256].iter().all(|score| *score == 0.0));
        let mean = |wanted: bool| {
            let scores = (256..2_000).filter(|n| (n % 100 == 99) == wanted).map(|n| scores[n]);
            let scores: Vec<f64> = scores.collect();
            scores.iter().sum::<f64>() / float(scores.len() as u64)
        };
        assert!(mean(true) > 1.5 * mean(false), "{} {}", mean(true), mean(false));
    }

    #[test]
    fn the_shares_say_which_number_is_odd_and_how() {
        let mut rows: Vec<f64> =
            rates(600).iter().flat_map(|rate| [rate.min(100.0), 5.0 - rate.min(100.0)]).collect();
        rows.extend([400.0, -60.0]);
        let mut forest = Forest::new(options(), 2);
        let Scores { scores, shares } = forest.run(&rows, true);
        let [high_one, high_two, low_one, low_two] = shares[shares.len() - 4..] else { panic!() };
        let sum = high_one + high_two + low_one + low_two;
        assert!((sum - scores[600]).abs() < 1e-9);
        assert!(high_one > 2.0 * (low_one + high_two + low_two), "{high_one} {sum}");
        for (score, shares) in scores.iter().zip(shares.chunks_exact(4)) {
            assert!((shares.iter().sum::<f64>() - score).abs() < 1e-9);
        }
    }

    #[test]
    fn older_points_get_rarer() {
        let mut forest = Forest::new(ForestOptions { decay: 50, ..options() }, 1);
        forest.run(&vec![1.0; 100], false);
        let before = forest.run(&[1000.0], false).scores[0];
        forest.run(&vec![1000.0; 1_000], false);
        let after = forest.run(&[1000.0], false).scores[0];
        assert!(after < 0.5 * before, "{after} {before}");
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..Default::default() })]
        /// Whatever the batches and the restarts, the scores are the same to the last bit.
        #[test]
        fn scores_do_not_depend_on_the_cut(
            cuts in prop::collection::vec((1..60_usize, any::<bool>()), 1..8),
            shingle in 1..4_usize,
        ) {
            let options = ForestOptions { shingle, ..options() };
            let rows = rates(2 * cuts.iter().map(|cut| u32::try_from(cut.0).unwrap()).sum::<u32>());
            let whole = Forest::new(options, 2).run(&rows, true);
            let mut forest = Forest::new(options, 2);
            let mut rest = rows.as_slice();
            let (mut scores, mut shares, mut written) = (Vec::new(), Vec::new(), Vec::new());
            for (length, restarts) in cuts {
                let (now, later) = rest.split_at(2 * length);
                rest = later;
                let part = forest.run(now, true);
                scores.extend(part.scores);
                shares.extend(part.shares);
                written.extend(forest.write());
                if restarts {
                    forest = Forest::new(options, 2);
                    for (number, bytes) in &written {
                        prop_assert!(forest.read(*number, bytes));
                    }
                }
            }
            prop_assert_eq!(scores, whole.scores);
            prop_assert_eq!(shares, whole.shares);
        }
    }
}
