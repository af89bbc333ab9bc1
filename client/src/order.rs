//! The order in which a job's steps are shown: that of its pipeline. Pure.

use std::collections::BTreeMap;

use lake_job::Pipeline;

/// The places of a job's tables.
#[derive(Debug, Clone, Default)]
pub(crate) struct Order(BTreeMap<String, usize>);

impl Order {
    /// Of the tables of this pipeline.
    pub(crate) fn of(pipeline: &Pipeline) -> Self {
        Self::of_tables(pipeline.tables.iter().map(|table| table.name.to_string()))
    }

    pub(crate) fn of_tables(tables: impl IntoIterator<Item = String>) -> Self {
        Self(tables.into_iter().enumerate().map(|(place, table)| (table, place)).collect())
    }

    /// The tables in order.
    pub(crate) fn tables(&self) -> Vec<&str> {
        self.sorted(self.0.keys().map(String::as_str), |table| table)
    }

    /// What has these tables, in order; what has another one comes last.
    pub(crate) fn sorted<T>(&self, items: impl IntoIterator<Item = T>, table: impl Fn(&T) -> &str) -> Vec<T> {
        let mut items: Vec<T> = items.into_iter().collect();
        items.sort_by_key(|item| self.0.get(table(item)).copied().unwrap_or(usize::MAX));
        items
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn items_come_in_the_order_of_the_pipeline_and_strange_ones_last() {
        let order = Order::of_tables(["silver.b", "bronze.a", "gold.c"].map(str::to_owned));
        assert_eq!(order.tables(), ["silver.b", "bronze.a", "gold.c"]);
        let sorted = order.sorted([("x.y", 1), ("gold.c", 2), ("bronze.a", 3), ("silver.b", 4)], |item| item.0);
        assert_eq!(sorted, [("silver.b", 4), ("bronze.a", 3), ("gold.c", 2), ("x.y", 1)]);
    }
}
