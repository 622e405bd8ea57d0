//! Regions in which many of the last points lie close together.
//!
//! A point with enough others within the radius is dense; dense points that are near each other make
//! one region, with what is near them at its edge: DBSCAN over a window of rows. A row comes with the
//! regions there are with it.
//!
//! Source: "HOTSPOTS" of the Kinesis Data Analytics SQL reference, which gives neither the unit of the
//! density nor how near regions are parted. Here the density is the number of points by the volume of
//! the box around them, each side of it as long as the radius at least.

use std::collections::VecDeque;
use std::fmt::Write as _;

use super::bytes::{Reader, Writer};

/// What is looked for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct HotspotOptions {
    /// How many rows are looked at.
    pub window: usize,
    /// How far two points that are near each other may be apart.
    pub radius: f64,
    /// How many points are near a dense one, itself among them.
    pub points: usize,
}

/// The last rows and what is dense among them.
#[derive(Debug)]
pub struct Hotspots {
    options: HotspotOptions,
    width: usize,
    /// The oldest first.
    points: VecDeque<Point>,
    /// How many points are gone: the number of the oldest.
    gone: usize,
    /// The regions, unless a dense point came, went or changed since.
    found: Option<String>,
}

#[derive(Debug)]
struct Point {
    numbers: Vec<f64>,
    /// The points it is near to, by their number; the oldest first.
    near: VecDeque<usize>,
}

impl Hotspots {
    /// No rows yet, of `width` numbers.
    #[must_use]
    pub fn new(options: HotspotOptions, width: usize) -> Self {
        Self { options, width, points: VecDeque::new(), gone: 0, found: None }
    }

    /// Takes a row in; returns the regions as JSON.
    pub fn run(&mut self, row: &[f64]) -> &str {
        if self.points.len() >= self.options.window {
            self.forget();
        }
        self.add(row);
        if self.found.is_none() {
            self.found = Some(self.regions());
        }
        self.found.as_deref().unwrap_or_default()
    }

    fn is_dense(&self, point: &Point) -> bool {
        point.near.len() + 1 >= self.options.points
    }

    /// Takes the oldest point out.
    fn forget(&mut self) {
        let Some(oldest) = self.points.pop_front() else { return };
        let mut is_other = self.is_dense(&oldest);
        self.gone += 1;
        for near in &oldest.near {
            let Some(point) = self.points.get_mut(near - self.gone) else { continue };
            is_other |= point.near.len() + 1 >= self.options.points;
            point.near.pop_front();
        }
        if is_other {
            self.found = None;
        }
    }

    fn add(&mut self, row: &[f64]) {
        let number = self.gone + self.points.len();
        let mut near = VecDeque::new();
        let mut is_other = false;
        for (other, point) in (self.gone..).zip(&mut self.points) {
            if is_near(&point.numbers, row, self.options.radius) {
                near.push_back(other);
                point.near.push_back(number);
                is_other |= point.near.len() + 1 >= self.options.points;
            }
        }
        let point = Point { numbers: row.to_vec(), near };
        if is_other || self.is_dense(&point) {
            self.found = None;
        }
        self.points.push_back(point);
    }

    fn regions(&self) -> String {
        let mut seen = vec![false; self.points.len()];
        let mut json = String::from("{\"hotspots\":[");
        for (start, point) in self.points.iter().enumerate() {
            if seen[start] || !self.is_dense(point) {
                continue;
            }
            seen[start] = true;
            let mut members = vec![start];
            let mut next = 0;
            while let Some(at) = members.get(next).copied() {
                next += 1;
                let point = &self.points[at];
                if !self.is_dense(point) {
                    continue;
                }
                for near in &point.near {
                    let near = near - self.gone;
                    if !std::mem::replace(&mut seen[near], true) {
                        members.push(near);
                    }
                }
            }
            if !json.ends_with('[') {
                json.push(',');
            }
            self.write_region(&members, &mut json);
        }
        json.push_str("]}");
        json
    }

    fn write_region(&self, members: &[usize], json: &mut String) {
        let mut least = vec![f64::INFINITY; self.width];
        let mut greatest = vec![f64::NEG_INFINITY; self.width];
        for at in members {
            for (dimension, value) in self.points[*at].numbers.iter().enumerate() {
                least[dimension] = least[dimension].min(*value);
                greatest[dimension] = greatest[dimension].max(*value);
            }
        }
        let sides = least.iter().zip(&greatest);
        let volume: f64 = sides.map(|(l, g)| (g - l).max(self.options.radius)).product();
        let count = f64::from(u32::try_from(members.len()).unwrap_or(u32::MAX));
        json.push_str("{\"density\":");
        write_number(json, count / volume);
        for (name, values) in [("minValues", &least), ("maxValues", &greatest)] {
            json.push_str(",\"");
            json.push_str(name);
            json.push_str("\":[");
            for (at, value) in values.iter().enumerate() {
                if at > 0 {
                    json.push(',');
                }
                write_number(json, *value);
            }
            json.push(']');
        }
        json.push('}');
    }

    /// How many bytes it takes.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        let of = |point: &Point| {
            point.numbers.capacity() * size_of::<f64>()
                + point.near.capacity() * size_of::<usize>()
                + size_of::<Point>()
        };
        self.points.iter().map(of).sum::<usize>() + self.found.as_ref().map_or(0, String::capacity)
    }

    /// The rows, to be read again.
    #[must_use]
    pub fn write(&self) -> Vec<u8> {
        let mut bytes = Writer::default();
        let numbers = self.points.iter().flat_map(|point| point.numbers.iter().copied());
        bytes.floats(&numbers.collect::<Vec<_>>());
        bytes.into_bytes()
    }

    /// Takes in rows that were written in the place of those it has; says whether they are some.
    #[must_use]
    pub fn read(&mut self, bytes: &[u8]) -> bool {
        let Some(numbers) = Reader::new(bytes).floats() else { return false };
        *self = Self::new(self.options, self.width);
        numbers.chunks_exact(self.width.max(1)).for_each(|row| self.add(row));
        true
    }
}

/// JSON has no name for what is no number or has no end.
fn write_number(json: &mut String, number: f64) {
    if number.is_finite() {
        // A text takes whatever is written.
        let _written = write!(json, "{number:?}");
    } else {
        json.push_str("null");
    }
}

fn is_near(a: &[f64], b: &[f64], radius: f64) -> bool {
    let squares = a.iter().zip(b).map(|(a, b)| (a - b) * (a - b));
    squares.sum::<f64>() <= radius * radius
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options() -> HotspotOptions {
        HotspotOptions { window: 100, radius: 1.5, points: 4 }
    }

    #[test]
    fn a_planted_square_is_found_and_forgotten() {
        let mut hotspots = Hotspots::new(options(), 2);
        for n in 0..50_u32 {
            let far = [f64::from(n) * 10.0, f64::from(n % 7) * 100.0];
            assert_eq!(hotspots.run(&far), "{\"hotspots\":[]}");
        }
        for (x, y) in [(3.0, 3.0), (4.0, 3.0), (3.0, 4.0)] {
            assert_eq!(hotspots.run(&[x, y]), "{\"hotspots\":[]}");
        }
        let square = "{\"hotspots\":[{\"density\":1.7777777777777777,\"minValues\":[3.0,3.0],\"maxValues\":[4.0,4.0]}]}";
        assert_eq!(hotspots.run(&[4.0, 4.0]), square);
        let again = hotspots.write();
        for n in 0..97_u32 {
            let expected = if n < 96 { square } else { "{\"hotspots\":[]}" };
            assert_eq!(hotspots.run(&[-1_000.0 * f64::from(n + 1), 0.0]), expected, "{n}");
        }
        let mut restored = Hotspots::new(options(), 2);
        assert!(restored.read(&again));
        assert_eq!(restored.run(&[-1_000.0, 0.0]), square);
        assert!(!restored.read(&[1]));
    }

    #[test]
    fn near_regions_are_one_and_far_ones_two() {
        let mut hotspots = Hotspots::new(HotspotOptions { points: 2, ..options() }, 1);
        let mut last = String::new();
        for x in [0.0, 1.0, 2.0, 10.0, 11.0] {
            hotspots.run(&[x]).clone_into(&mut last);
        }
        assert_eq!(
            last,
            "{\"hotspots\":[{\"density\":1.5,\"minValues\":[0.0],\"maxValues\":[2.0]},\
             {\"density\":1.3333333333333333,\"minValues\":[10.0],\"maxValues\":[11.0]}]}"
        );
    }
}
