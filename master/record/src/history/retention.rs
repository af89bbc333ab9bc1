//! How long and how many files are kept. Pure.

/// What is kept of a history.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    /// Of an application that ended longer ago nothing is kept; 0 = no limit.
    pub max_age_ms: u64,
    /// Applications at most: those that ended last.
    pub most: usize,
}

impl Retention {
    /// Whether an application that ended then is kept, when `newer` have ended after it.
    pub const fn keeps(&self, newer: usize, ended_at_ms: u64, now_ms: u64) -> bool {
        let is_young = self.max_age_ms == 0 || now_ms.saturating_sub(ended_at_ms) <= self.max_age_ms;
        is_young && newer < self.most
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_bounds_count_and_an_age_of_zero_is_none() {
        let keeps =
            |max_age_ms, most, newer, ended_at_ms| Retention { max_age_ms, most }.keeps(newer, ended_at_ms, 100);
        assert!(keeps(10, 3, 2, 90) && keeps(0, 3, 2, 0) && keeps(10, 3, 0, 200), "also one from the future");
        assert!(!keeps(10, 3, 3, 90) && !keeps(10, 3, 2, 89) && !keeps(0, 0, 0, 100));
    }
}
