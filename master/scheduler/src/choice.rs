//! Whether a query runs uncut, as one task on one worker, or in stages over all of them. Pure.

use crate::settings::SchedulerSettings;

/// The cores that tasks can be placed on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Cluster {
    /// Of all workers together.
    pub(crate) total: u32,
    /// Of the largest worker.
    pub(crate) largest: u32,
}

/// How a query runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Choice {
    /// As one task with this many cores.
    Whole { cores: u32 },
    /// In stages.
    Cut,
}

/// Uncut, nothing goes through a shuffle, but only the cores of one worker work. That is better when they are more
/// than half of the cores the query could use, where a core wants at least `bytes_per_core` to be worth it.
pub(crate) fn choose(scan_bytes: u64, cap: Option<u32>, cluster: Cluster, settings: &SchedulerSettings) -> Choice {
    let useful = scan_bytes.div_ceil(settings.bytes_per_core.max(1)).max(1);
    let useful = u32::try_from(useful).unwrap_or(u32::MAX);
    if useful == 1 {
        return Choice::Whole { cores: 1 };
    }
    if scan_bytes >= settings.small_query_bytes {
        return Choice::Cut;
    }
    let cap = self::cap(cap);
    let alone = cluster.largest.min(cap).min(useful);
    let together = cluster.total.min(cap).min(useful);
    if u64::from(alone) * 2 > u64::from(together) { Choice::Whole { cores: alone } } else { Choice::Cut }
}

/// The cores an application may use; none and zero mean all.
pub(crate) fn cap(cap: Option<u32>) -> u32 {
    cap.filter(|cap| *cap > 0).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    #[test]
    fn the_choice_follows_the_scan_and_the_cluster() {
        let settings = SchedulerSettings::default();
        let rows = [
            // scan, cap, total, largest, expected
            (0, None, 2, 1, Choice::Whole { cores: 1 }),
            (32 * MIB, None, 2, 1, Choice::Whole { cores: 1 }),
            (32 * MIB, None, 0, 0, Choice::Whole { cores: 1 }),
            (40 * MIB, None, 2, 1, Choice::Cut),
            (40 * MIB, Some(1), 2, 1, Choice::Whole { cores: 1 }),
            (40 * MIB, None, 1, 1, Choice::Whole { cores: 1 }),
            (100 * MIB, None, 8, 4, Choice::Whole { cores: 4 }),
            (900 * MIB, None, 8, 4, Choice::Cut),
            (900 * MIB, Some(4), 8, 4, Choice::Whole { cores: 4 }),
            (900 * MIB, Some(0), 4, 4, Choice::Whole { cores: 4 }),
            (200 * MIB, None, 80, 8, Choice::Whole { cores: 7 }),
            (1024 * MIB, None, 4, 4, Choice::Cut),
            (u64::MAX, None, 4, 4, Choice::Cut),
            (40 * MIB, None, 0, 0, Choice::Cut),
        ];
        for (scan, cap, total, largest, expected) in rows {
            let cluster = Cluster { total, largest };
            assert_eq!(choose(scan, cap, cluster, &settings), expected, "{scan} {cap:?} {cluster:?}");
        }
    }
}
