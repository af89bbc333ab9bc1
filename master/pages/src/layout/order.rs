//! The order within columns: each vertex goes to the middle of its neighbours, back and forth, and the best order seen is
//! kept. Pure.

use super::layers::Layered;

/// More rounds change little.
const ROUNDS: usize = 12;

pub(super) fn reduce_crossings(layered: &mut Layered) {
    let (before, after) = layered.neighbours();
    let mut places = places(layered);
    let mut best = (crossings(layered, &places), layered.layers.clone());
    for round in 0..ROUNDS {
        if best.0 == 0 {
            break;
        }
        let levels = layered.layers.len();
        if round % 2 == 0 {
            for level in 1..levels {
                sort(layered, level, &before, &mut places);
            }
        } else {
            for level in (0..levels.saturating_sub(1)).rev() {
                sort(layered, level, &after, &mut places);
            }
        }
        let found = crossings(layered, &places);
        if found < best.0 {
            best = (found, layered.layers.clone());
        }
    }
    layered.layers = best.1;
}

/// By vertex, where it is in its column.
fn places(layered: &Layered) -> Vec<usize> {
    let mut places = vec![0; layered.len()];
    for layer in &layered.layers {
        note(layer, &mut places);
    }
    places
}

fn note(layer: &[usize], places: &mut [usize]) {
    for (place, vertex) in layer.iter().enumerate() {
        places.get_mut(*vertex).into_iter().for_each(|noted| *noted = place);
    }
}

fn sort(layered: &mut Layered, level: usize, neighbours: &[Vec<usize>], places: &mut [usize]) {
    let Some(layer) = layered.layers.get_mut(level) else { return };
    let mut wanted: Vec<(f64, usize)> = Vec::with_capacity(layer.len());
    for (place, vertex) in layer.iter().enumerate() {
        let around = neighbours.get(*vertex).map_or(&[][..], Vec::as_slice);
        let at: Vec<usize> = around.iter().filter_map(|other| places.get(*other).copied()).collect();
        let mean = if at.is_empty() { place as f64 } else { at.iter().sum::<usize>() as f64 / at.len() as f64 };
        wanted.push((mean, *vertex));
    }
    // Stable: what wants the same place keeps its order.
    wanted.sort_by(|one, other| one.0.total_cmp(&other.0));
    *layer = wanted.into_iter().map(|(_, vertex)| vertex).collect();
    note(layer, places);
}

/// How often arrows cross.
fn crossings(layered: &Layered, places: &[usize]) -> usize {
    let mut by_level: Vec<Vec<(usize, usize)>> = vec![Vec::new(); layered.layers.len()];
    for (left, right) in &layered.links {
        let place = |vertex: &usize| places.get(*vertex).copied().unwrap_or_default();
        let pair = (place(left), place(right));
        by_level.get_mut(layered.level(*left)).into_iter().for_each(|pairs| pairs.push(pair));
    }
    by_level.into_iter().map(inversions).sum()
}

/// Pairs of links of which one begins above the other and ends below it.
fn inversions(mut pairs: Vec<(usize, usize)>) -> usize {
    pairs.sort_unstable();
    let width = pairs.iter().map(|(_, right)| right + 1).max().unwrap_or(0);
    // A Fenwick tree of how many links end at each place.
    let mut tree = vec![0_usize; width + 1];
    let mut found = 0;
    for (seen, (_, right)) in pairs.into_iter().enumerate() {
        let mut not_below = 0;
        let mut index = right + 1;
        while index > 0 {
            not_below += tree.get(index).copied().unwrap_or_default();
            index &= index - 1;
        }
        found += seen - not_below;
        let mut index = right + 1;
        while let Some(count) = tree.get_mut(index) {
            *count += 1;
            index += index & index.wrapping_neg();
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn crossings_are_counted() {
        assert_eq!(inversions(vec![]), 0);
        assert_eq!(inversions(vec![(0, 0), (1, 1), (1, 2)]), 0);
        assert_eq!(inversions(vec![(0, 1), (1, 0)]), 1);
        assert_eq!(inversions(vec![(0, 0), (0, 1), (1, 0), (1, 1)]), 1);
        assert_eq!(inversions(vec![(0, 2), (1, 1), (2, 0)]), 3);
    }
}
