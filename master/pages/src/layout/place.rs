//! Places within columns: as near as can be to the middle of the neighbours, without touching. Pure.

use super::Size;
use super::layers::Layered;

const GAP: f64 = 22.0;
/// Room for an arrow that passes a column.
const PASSAGE: f64 = 8.0;
const ROUNDS: usize = 24;
/// Arrows that pass are kept straighter than boxes are kept in the middle.
const PASSAGE_WEIGHT: f64 = 4.0;

/// The height of the middle of each vertex. The highest box begins at 0.
pub(super) fn middles(layered: &Layered, sizes: &[Size]) -> Vec<f64> {
    let heights: Vec<f64> = (0..layered.len()).map(|vertex| sizes.get(vertex).map_or(PASSAGE, |s| s.height)).collect();
    let (before, after) = layered.neighbours();
    let mut middles = stacked(layered, &heights);
    let levels = layered.layers.len();
    for round in 0..ROUNDS {
        match round % 3 {
            0 => (1..levels).for_each(|level| settle(layered, level, &heights, &[&before], &mut middles)),
            1 => (0..levels).rev().for_each(|level| settle(layered, level, &heights, &[&after], &mut middles)),
            _ => (0..levels).for_each(|level| settle(layered, level, &heights, &[&before, &after], &mut middles)),
        }
    }
    let top = middles.iter().zip(&heights).map(|(middle, height)| middle - height / 2.0).fold(f64::INFINITY, f64::min);
    if top.is_finite() {
        middles.iter_mut().for_each(|middle| *middle -= top);
    }
    middles
}

fn stacked(layered: &Layered, heights: &[f64]) -> Vec<f64> {
    let mut middles = vec![0.0; layered.len()];
    for layer in &layered.layers {
        let mut top = 0.0;
        for vertex in layer {
            let height = heights.get(*vertex).copied().unwrap_or_default();
            middles.get_mut(*vertex).into_iter().for_each(|middle| *middle = top + height / 2.0);
            top += height + GAP;
        }
    }
    middles
}

/// Moves the vertices of one column to where they want to be, in their order and apart from each other: the places with
/// the least squares of distances, which pooling adjacent violators finds.
fn settle(layered: &Layered, level: usize, heights: &[f64], sides: &[&Vec<Vec<usize>>], middles: &mut [f64]) {
    let Some(layer) = layered.layers.get(level) else { return };
    let height = |vertex: usize| heights.get(vertex).copied().unwrap_or_default();
    let mut pools: Vec<Pool> = Vec::with_capacity(layer.len());
    let mut offsets = Vec::with_capacity(layer.len());
    let mut offset = 0.0;
    let mut above: Option<usize> = None;
    for vertex in layer.iter().copied() {
        if let Some(above) = above {
            let both_pass = layered.is_passage(above) && layered.is_passage(vertex);
            offset += (height(above) + height(vertex)) / 2.0 + if both_pass { GAP / 2.0 } else { GAP };
        }
        above = Some(vertex);
        offsets.push(offset);
        let weight = if layered.is_passage(vertex) { PASSAGE_WEIGHT } else { 1.0 };
        let mut pool = Pool { sum: weight * (wanted(vertex, sides, middles) - offset), weight, members: 1 };
        while let Some(last) = pools.pop_if(|last| last.place() > pool.place()) {
            pool = pool.with(last);
        }
        pools.push(pool);
    }
    let places = pools.iter().flat_map(|pool| std::iter::repeat_n(pool.place(), pool.members));
    for ((vertex, offset), place) in layer.iter().zip(offsets).zip(places) {
        middles.get_mut(*vertex).into_iter().for_each(|middle| *middle = place + offset);
    }
}

/// The mean of the neighbours; where it is when it has none.
fn wanted(vertex: usize, sides: &[&Vec<Vec<usize>>], middles: &[f64]) -> f64 {
    let at = |vertex: &usize| middles.get(*vertex).copied();
    let around: Vec<f64> = sides.iter().filter_map(|side| side.get(vertex)).flatten().filter_map(at).collect();
    if around.is_empty() { at(&vertex).unwrap_or_default() } else { around.iter().sum::<f64>() / around.len() as f64 }
}

/// Vertices that touch and so move together.
struct Pool {
    sum: f64,
    weight: f64,
    members: usize,
}

impl Pool {
    fn place(&self) -> f64 {
        self.sum / self.weight
    }

    fn with(self, other: Self) -> Self {
        Self { sum: self.sum + other.sum, weight: self.weight + other.weight, members: self.members + other.members }
    }
}
