//! Many figures in a few, so that skew is seen. Pure.

use serde::{Deserialize, Serialize};

/// Of how many figures, and how they lie.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Distribution {
    /// How many there are.
    pub count: usize,
    /// The smallest.
    pub min: u64,
    /// At the quantile 0.5.
    pub median: u64,
    /// At the quantile 0.95.
    pub p95: u64,
    /// The largest.
    pub max: u64,
}

/// Of these figures; zeros of none. A quantile is a figure that occurs, as [`at_quantile`] finds it.
pub fn distribution(figures: impl IntoIterator<Item = u64>) -> Distribution {
    let mut sorted: Vec<u64> = figures.into_iter().collect();
    sorted.sort_unstable();
    let at = |quantile: f64| at_quantile(&sorted, quantile);
    Distribution { count: sorted.len(), min: at(0.0), median: at(0.5), p95: at(0.95), max: at(1.0) }
}

/// The figure where Spark finds a quantile from 0 to 1: of n figures in ascending order the one at `quantile * n`, counted
/// from 0 and rounded down, and the last one beyond; 0 of none. Pages and API both have it, so that they tell the same.
pub fn at_quantile(sorted: &[u64], quantile: f64) -> u64 {
    let place = quantile * number_of(sorted.len());
    // How many places are not above it: at least one, for the first is 0.
    let (mut low, mut high) = (0, sorted.len());
    while low < high {
        let middle = usize::midpoint(low, high);
        if number_of(middle) <= place {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    sorted.get(low.saturating_sub(1)).copied().unwrap_or(0)
}

/// Lists have fewer than 2^53 figures.
const fn number_of(place: usize) -> f64 {
    place as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_figures_that_occur() {
        let of = |figures: &[u64]| {
            let found = distribution(figures.iter().copied());
            (found.count, found.min, found.median, found.p95, found.max)
        };
        assert_eq!(of(&[]), (0, 0, 0, 0, 0));
        assert_eq!(of(&[7]), (1, 7, 7, 7, 7));
        assert_eq!(of(&[4, 1, 3, 2]), (4, 1, 3, 4, 4));
        let hundred: Vec<u64> = (1..=100).rev().collect();
        assert_eq!(of(&hundred), (100, 1, 51, 96, 100));
    }

    #[test]
    fn a_quantile_is_where_spark_finds_it() {
        let at = |quantile: f64| at_quantile(&[10, 20, 30, 40], quantile);
        assert_eq!([0.0, 0.24, 0.25, 0.5, 0.75, 0.99, 1.0].map(at), [10, 10, 20, 30, 40, 40, 40]);
        assert_eq!((at_quantile(&[], 0.5), at_quantile(&[7], 1.0), at_quantile(&[7, 8], -1.0)), (0, 7, 7));
    }
}
