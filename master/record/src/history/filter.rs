//! Which applications a list shows. Pure.

/// What somebody looks for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SummaryFilter {
    /// Spark's names of states, in upper case; empty = all.
    pub states: Vec<String>,
    /// In the name or in an id, in any case; empty = all.
    pub text: String,
}

impl SummaryFilter {
    /// Whether an application in this state, with this name and these ids, is looked for.
    pub fn takes(&self, state: &str, name: &str, ids: [&str; 3]) -> bool {
        if !self.states.is_empty() && !self.states.iter().any(|wanted| wanted == state) {
            return false;
        }
        if self.text.is_empty() {
            return true;
        }
        let text = self.text.to_lowercase();
        ids.into_iter().any(|id| id.contains(&text)) || name.to_lowercase().contains(&text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_takes_by_state_and_by_text_in_name_or_id() {
        let filter = |states: &[&str], text: &str| {
            let states = states.iter().map(|state| (*state).to_owned()).collect();
            SummaryFilter { states, text: text.to_owned() }
        };
        let takes = |filter: SummaryFilter| filter.takes("FAILED", "Nightly Ü", ["app-1", "driver-2", "s-3"]);
        for taken in
            [filter(&[], ""), filter(&["KILLED", "FAILED"], ""), filter(&[], "nightly ü"), filter(&[], "Driver-2")]
        {
            assert!(takes(taken.clone()), "{taken:?}");
        }
        for left in [filter(&["RUNNING"], "nightly"), filter(&["FAILED"], "daily"), filter(&["failed"], "")] {
            assert!(!takes(left.clone()), "{left:?}");
        }
    }
}
