//! What a misspelt word was probably meant to be. Pure.

/// The candidate that `found` is most probably a misspelling of.
pub(crate) fn closest<'a>(found: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<String> {
    const ENOUGH: f64 = 0.7;
    let found = found.to_lowercase();
    let mut best: Option<(f64, &str)> = None;
    for candidate in candidates {
        let score = strsim::normalized_damerau_levenshtein(&found, &candidate.to_lowercase())
            .max(strsim::jaro_winkler(&found, &candidate.to_lowercase()) - 0.15);
        if score >= ENOUGH && best.is_none_or(|(best_score, _)| score > best_score) {
            best = Some((score, candidate));
        }
    }
    best.map(|(_, candidate)| candidate.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn misspellings_find_their_word_and_strangers_find_none() {
        let keys = ["name", "from", "sql", "sql_file", "mode", "partition_by", "expect"];
        for (found, meant) in
            [("expct", "expect"), ("partitoin_by", "partition_by"), ("Mode", "mode"), ("nmae", "name")]
        {
            assert_eq!(closest(found, keys).as_deref(), Some(meant), "{found}");
        }
        assert_eq!(closest("zzz", keys), None);
    }
}
