//! One tree of random cuts over a sample of points.
//!
//! An inner node cuts the box around its points at a random place: the side is drawn in proportion to
//! its length, the place evenly. Points come and go one by one, and the tree is always one that could
//! have been drawn for the points it has.
//!
//! ```text
//!   coming:  cut the box that would have the point as well; if the cut parts the point from the rest,
//!            it becomes a node here, else the point goes on to the child it belongs to
//!   going:   the point's sibling takes the place of their parent
//! ```
//!
//! Equal points are one leaf with a count. After "Robust Random Cut Forest Based Anomaly Detection On
//! Streams", Guha, Mishra, Roy and Schrijvers, 2016.

use super::super::bytes::{Reader, Writer};
use super::random::Random;

/// The bit that says that a child is a leaf.
const LEAF: u32 = 1 << 31;

/// A tree.
#[derive(Debug, Default)]
pub(super) struct Tree {
    dimensions: usize,
    root: Option<u32>,
    nodes: Vec<Node>,
    unused_nodes: Vec<u32>,
    /// The least, then the greatest coordinates of each inner node.
    boxes: Vec<f64>,
    /// The coordinates of each leaf.
    points: Vec<f64>,
    /// How many points are at each leaf.
    counts: Vec<u32>,
    unused_leaves: Vec<u32>,
    /// The nodes above the present one; kept for its room.
    path: Vec<u32>,
}

/// Points whose coordinate is at most the cut are on the left.
#[derive(Debug, Clone, Copy, Default)]
struct Node {
    cut: f64,
    dimension: u32,
    left: u32,
    right: u32,
    mass: u32,
}

impl Tree {
    pub(super) fn new(dimensions: usize) -> Self {
        Self { dimensions, ..Self::default() }
    }

    fn point(&self, leaf: u32) -> &[f64] {
        let start = leaf as usize * self.dimensions;
        &self.points[start..start + self.dimensions]
    }

    /// The least and the greatest coordinates below a child.
    fn bounds(&self, child: u32) -> (&[f64], &[f64]) {
        if child & LEAF != 0 {
            let point = self.point(child & !LEAF);
            return (point, point);
        }
        let start = child as usize * 2 * self.dimensions;
        self.boxes[start..start + 2 * self.dimensions].split_at(self.dimensions)
    }

    fn mass(&self, child: u32) -> u32 {
        if child & LEAF != 0 {
            self.counts[(child & !LEAF) as usize]
        } else {
            self.nodes[child as usize].mass
        }
    }

    /// Where `point` is, if it is there, or the leaf that is in its place; the nodes above are the path.
    fn descend(&mut self, point: &[f64]) -> Option<u32> {
        self.path.clear();
        let mut child = self.root?;
        while child & LEAF == 0 {
            self.path.push(child);
            child = self.nodes[child as usize].side(point);
        }
        Some(child & !LEAF)
    }

    /// Adds a point; returns its leaf.
    pub(super) fn insert(&mut self, point: &[f64], random: &mut Random) -> u32 {
        self.path.clear();
        let Some(mut child) = self.root else {
            let leaf = self.new_leaf(point);
            self.root = Some(leaf | LEAF);
            return leaf;
        };
        let leaf = loop {
            if child & LEAF != 0 && self.point(child & !LEAF) == point {
                self.counts[(child & !LEAF) as usize] += 1;
                break child & !LEAF;
            }
            let (least, greatest) = self.bounds(child);
            if let Some((dimension, cut, is_left)) = parting_cut(least, greatest, point, random) {
                break self.part(child, point, (dimension, cut, is_left));
            }
            self.path.push(child);
            child = self.nodes[child as usize].side(point);
        };
        for node in &self.path {
            self.nodes[*node as usize].mass += 1;
            let start = *node as usize * 2 * self.dimensions;
            let (least, greatest) =
                self.boxes[start..start + 2 * self.dimensions].split_at_mut(self.dimensions);
            for ((least, greatest), value) in least.iter_mut().zip(greatest).zip(point) {
                *least = least.min(*value);
                *greatest = greatest.max(*value);
            }
        }
        leaf
    }

    /// Makes a node above `child` that parts the point from it; returns the point's leaf.
    fn part(&mut self, child: u32, point: &[f64], cut: (usize, f64, bool)) -> u32 {
        let (dimension, cut, is_left) = cut;
        let leaf = self.new_leaf(point);
        let (left, right) = if is_left { (leaf | LEAF, child) } else { (child, leaf | LEAF) };
        let dimension = u32::try_from(dimension).unwrap_or(u32::MAX);
        let mass = self.mass(child) + 1;
        let node = Node { cut, dimension, left, right, mass };
        let at = match self.unused_nodes.pop() {
            Some(unused) => {
                self.nodes[unused as usize] = node;
                unused
            }
            None => {
                self.nodes.push(node);
                self.boxes.resize(self.nodes.len() * 2 * self.dimensions, 0.0);
                u32::try_from(self.nodes.len() - 1).unwrap_or(u32::MAX)
            }
        };
        self.measure(at);
        let above = self.path.last().copied();
        self.put_child(above, child, at);
        leaf
    }

    /// Puts the box of a node around those of its children.
    fn measure(&mut self, node: u32) {
        let Node { left, right, .. } = self.nodes[node as usize];
        let start = node as usize * 2 * self.dimensions;
        for dimension in 0..self.dimensions {
            let ((left_least, left_greatest), (right_least, right_greatest)) =
                (self.bounds(left), self.bounds(right));
            let least = left_least[dimension].min(right_least[dimension]);
            let greatest = left_greatest[dimension].max(right_greatest[dimension]);
            self.boxes[start + dimension] = least;
            self.boxes[start + self.dimensions + dimension] = greatest;
        }
    }

    /// Puts `new` in the place of the child `old` of `above`, or of the root.
    fn put_child(&mut self, above: Option<u32>, old: u32, new: u32) {
        match above {
            None => self.root = Some(new),
            Some(above) => {
                let above = &mut self.nodes[above as usize];
                if above.left == old { above.left = new } else { above.right = new }
            }
        }
    }

    fn new_leaf(&mut self, point: &[f64]) -> u32 {
        match self.unused_leaves.pop() {
            Some(unused) => {
                let start = unused as usize * self.dimensions;
                self.points[start..start + self.dimensions].copy_from_slice(point);
                self.counts[unused as usize] = 1;
                unused
            }
            None => {
                self.points.extend_from_slice(point);
                self.counts.push(1);
                u32::try_from(self.counts.len() - 1).unwrap_or(u32::MAX)
            }
        }
    }

    /// Takes one point out of a leaf.
    pub(super) fn remove(&mut self, leaf: u32) {
        let point = self.point(leaf).to_vec();
        self.descend(&point);
        self.counts[leaf as usize] -= 1;
        if self.counts[leaf as usize] > 0 {
            for node in &self.path {
                self.nodes[*node as usize].mass -= 1;
            }
            return;
        }
        self.unused_leaves.push(leaf);
        let Some(parent) = self.path.pop() else {
            self.root = None;
            return;
        };
        let Node { left, right, .. } = self.nodes[parent as usize];
        let sibling = if left == leaf | LEAF { right } else { left };
        let above = self.path.last().copied();
        self.put_child(above, parent, sibling);
        self.unused_nodes.push(parent);
        while let Some(node) = self.path.pop() {
            self.nodes[node as usize].mass -= 1;
            self.measure(node);
        }
    }

    /// How far a point is from being one of the others: the expectation of one by the depth at which
    /// it would be parted from them, in units in which a tree of any size gives about the same. What
    /// each coordinate adds to that by being too high is added to the first half of `shares`, and by
    /// being too low to the second, if there is room.
    pub(super) fn score(&self, point: &[f64], shares: &mut [f64]) -> f64 {
        let Some(mut child) = self.root else { return 0.0 };
        let mass = f64::from(self.mass(child));
        let unit = (mass + 1.0).log2();
        let (mut score, mut rest, mut depth) = (0.0, 1.0, 0.0);
        loop {
            let (least, greatest) = self.bounds(child);
            let (mut outside, mut inside) = (0.0, 0.0);
            for ((least, greatest), value) in least.iter().zip(greatest).zip(point) {
                outside += (least - value).max(0.0) + (value - greatest).max(0.0);
                inside += greatest - least;
            }
            if outside > 0.0 {
                // At a leaf there is no inside: the point is parted from it.
                let parted = rest * (outside / (outside + inside));
                let part = parted * unit / (depth + 1.0);
                score += part;
                share(least, greatest, point, part / outside, shares);
                rest -= parted;
            }
            if child & LEAF != 0 {
                if outside <= 0.0 {
                    let count = f64::from(self.mass(child));
                    let familiar = 1.0 - count / (2.0 * mass);
                    let part = rest * familiar * unit / (depth + (count + 1.0).log2());
                    score += part;
                    // No coordinate says more than another.
                    let each = part / f64::from(u32::try_from(shares.len()).unwrap_or(1).max(1));
                    shares.iter_mut().for_each(|share| *share += each);
                }
                return score;
            }
            depth += 1.0;
            child = self.nodes[child as usize].side(point);
        }
    }

    pub(super) fn memory_bytes(&self) -> usize {
        let words = self.unused_nodes.capacity()
            + self.counts.capacity()
            + self.unused_leaves.capacity()
            + self.path.capacity();
        self.nodes.capacity() * size_of::<Node>()
            + (self.boxes.capacity() + self.points.capacity()) * size_of::<f64>()
            + words * size_of::<u32>()
    }

    pub(super) fn write(&self, into: &mut Writer) {
        into.number(u64::from(self.root.unwrap_or(u32::MAX)));
        into.number(self.nodes.len() as u64);
        for Node { cut, dimension, left, right, mass } in &self.nodes {
            into.float(*cut);
            into.words(&[*dimension, *left, *right, *mass]);
        }
        into.floats(&self.points);
        into.list(&self.counts);
        into.list(&self.unused_nodes);
        into.list(&self.unused_leaves);
        into.floats(&self.boxes);
    }

    /// A tree as it was written; none if it was not.
    pub(super) fn read(dimensions: usize, from: &mut Reader<'_>) -> Option<Self> {
        let root = u32::try_from(from.number()?).ok()?;
        let mut nodes = Vec::new();
        for _ in 0..from.number()? {
            let cut = from.float()?;
            let [dimension, left, right, mass] = from.words()?;
            nodes.push(Node { cut, dimension, left, right, mass });
        }
        let (points, counts) = (from.floats()?, from.list()?);
        let (unused_nodes, unused_leaves) = (from.list()?, from.list()?);
        let boxes = from.floats()?;
        let is_whole = points.len() == counts.len() * dimensions
            && boxes.len() == nodes.len() * 2 * dimensions;
        is_whole.then(|| Self {
            dimensions,
            root: (root != u32::MAX).then_some(root),
            nodes,
            unused_nodes,
            boxes,
            points,
            counts,
            unused_leaves,
            path: Vec::new(),
        })
    }
}

impl Node {
    /// The child on the side of the point.
    fn side(&self, point: &[f64]) -> u32 {
        if point[self.dimension as usize] <= self.cut { self.left } else { self.right }
    }
}

/// A random cut of the box with the point in it: the dimension, the place, and whether the point is on
/// the left; none if it does not part the point from the box.
fn parting_cut(
    least: &[f64],
    greatest: &[f64],
    point: &[f64],
    random: &mut Random,
) -> Option<(usize, f64, bool)> {
    let (mut outside, mut all) = (0.0, 0.0);
    for ((least, greatest), value) in least.iter().zip(greatest).zip(point) {
        let more = (least - value).max(0.0) + (value - greatest).max(0.0);
        outside += more;
        all += greatest - least + more;
    }
    if outside <= 0.0 {
        return None;
    }
    let mut place = random.unit() * all;
    for (dimension, ((least, greatest), value)) in least.iter().zip(greatest).zip(point).enumerate()
    {
        let begin = least.min(*value);
        let length = greatest.max(*value) - begin;
        if place < length {
            let cut = begin + place;
            return if *value < *least && cut < *least {
                Some((dimension, cut, true))
            } else if *value > *greatest && cut >= *greatest {
                // Rounding must not put the point on the side of the others.
                Some((dimension, if cut < *value { cut } else { *greatest }, false))
            } else {
                None
            };
        }
        place -= length;
    }
    // Rounding has left something over: the last side that the point makes longer.
    let sides = least.iter().zip(greatest).zip(point).enumerate();
    let outer =
        sides.rev().find(|(_, ((least, greatest), value))| *value < *least || *value > *greatest);
    outer.map(
        |(dimension, ((least, greatest), value))| {
            if value < least { (dimension, *value, true) } else { (dimension, *greatest, false) }
        },
    )
}

/// Adds `factor` times how far each coordinate is above or below the box.
fn share(least: &[f64], greatest: &[f64], point: &[f64], factor: f64, shares: &mut [f64]) {
    if shares.is_empty() {
        return;
    }
    let (high, low) = shares.split_at_mut(point.len());
    for (dimension, ((least, greatest), value)) in least.iter().zip(greatest).zip(point).enumerate()
    {
        high[dimension] += factor * (value - greatest).max(0.0);
        low[dimension] += factor * (least - value).max(0.0);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What must be true of a node; returns its mass and box.
    fn check(tree: &Tree, child: u32, below: &[(u32, f64, bool)]) -> (u32, Vec<f64>, Vec<f64>) {
        let (least, greatest) = tree.bounds(child);
        if child & LEAF != 0 {
            for (dimension, cut, is_left) in below {
                assert_eq!(least[*dimension as usize] <= *cut, *is_left);
            }
            assert!(tree.mass(child) > 0);
            return (tree.mass(child), least.to_vec(), greatest.to_vec());
        }
        let node = tree.nodes[child as usize];
        let mut path = below.to_vec();
        path.push((node.dimension, node.cut, true));
        let left = check(tree, node.left, &path);
        path.pop();
        path.push((node.dimension, node.cut, false));
        let right = check(tree, node.right, &path);
        let join = |a: &[f64], b: &[f64], f: fn(f64, f64) -> f64| -> Vec<f64> {
            a.iter().zip(b).map(|(a, b)| f(*a, *b)).collect()
        };
        assert_eq!(node.mass, left.0 + right.0);
        assert_eq!(least, join(&left.1, &right.1, f64::min));
        assert_eq!(greatest, join(&left.2, &right.2, f64::max));
        (node.mass, least.to_vec(), greatest.to_vec())
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..Default::default() })]
        /// Points of few values, so that many are equal, come and go.
        #[test]
        fn a_tree_stays_one(
            steps in prop::collection::vec((any::<bool>(), 0..6_i8, -3..3_i8, any::<usize>()), 1..120),
            seed in any::<u64>(),
        ) {
            let mut tree = Tree::new(2);
            let mut random = Random::new(seed);
            let mut kept: Vec<u32> = Vec::new();
            for (comes, x, y, which) in steps {
                if comes || kept.is_empty() {
                    let point = [f64::from(x) / 3.0, f64::from(y)];
                    kept.push(tree.insert(&point, &mut random));
                } else {
                    let leaf = kept.swap_remove(which % kept.len());
                    tree.remove(leaf);
                }
                match tree.root {
                    None => prop_assert!(kept.is_empty()),
                    Some(root) => prop_assert_eq!(check(&tree, root, &[]).0 as usize, kept.len()),
                }
                let mut shares = [0.0; 4];
                let score = tree.score(&[f64::from(x), f64::from(y) + 0.5], &mut shares);
                prop_assert!((shares.iter().sum::<f64>() - score).abs() < 1e-9);
                let mut bytes = Writer::default();
                tree.write(&mut bytes);
                let bytes = bytes.into_bytes();
                let again = Tree::read(2, &mut Reader::new(&bytes)).unwrap();
                let scored = again.score(&[f64::from(x), f64::from(y) + 0.5], &mut []);
                prop_assert_eq!(scored.to_bits(), score.to_bits());
            }
        }
    }

    #[test]
    fn a_point_far_away_scores_higher() {
        let mut tree = Tree::new(1);
        let mut random = Random::new(7);
        for n in 0..64 {
            tree.insert(&[f64::from(n % 16)], &mut random);
        }
        let near = tree.score(&[7.5], &mut []);
        let far = tree.score(&[500.0], &mut []);
        assert!(far > 3.0 * near, "{far} {near}");
    }
}
