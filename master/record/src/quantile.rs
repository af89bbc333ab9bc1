//! Many figures in a few, so that skew is seen. Pure.

use serde::{Deserialize, Serialize};

/// Of how many figures, and how they lie.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Distribution {
    /// How many there are.
    pub count: usize,
    /// The smallest.
    pub min: u64,
    /// Half of them are smaller.
    pub median: u64,
    /// 95 of 100 are smaller.
    pub p95: u64,
    /// The largest.
    pub max: u64,
}

/// Of these figures; zeros of none. A quantile is a figure that occurs, the nearest by rank.
pub fn distribution(figures: impl IntoIterator<Item = u64>) -> Distribution {
    let mut sorted: Vec<u64> = figures.into_iter().collect();
    sorted.sort_unstable();
    let at = |per_cent: usize| {
        let rank = (sorted.len() * per_cent).div_ceil(100).max(1);
        sorted.get(rank - 1).copied().unwrap_or(0)
    };
    Distribution { count: sorted.len(), min: at(0), median: at(50), p95: at(95), max: at(100) }
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
        assert_eq!(of(&[4, 1, 3, 2]), (4, 1, 2, 4, 4));
        let hundred: Vec<u64> = (1..=100).rev().collect();
        assert_eq!(of(&hundred), (100, 1, 50, 95, 100));
    }
}
