//! Properties: no text makes the reader panic, and every pipeline survives its JSON.

use proptest::prelude::*;

use super::*;

/// Texts that stress places, escapes and substitution.
fn fragment() -> impl Strategy<Value = String> {
    prop_oneof![
        ".{0,12}",
        "[\\x00-\\x7f]{0,12}",
        Just("${ds}".to_owned()),
        Just("$${".to_owned()),
        Just("\"\"\"\n".to_owned()),
        Just("\\u00e9\\\n ".to_owned()),
        Just("[[table]]\n".to_owned()),
        Just("name = 'é'\n".to_owned()),
        Just("sql = '''SELECT ('''\n".to_owned()),
        Just("(((((".to_owned()),
        Just("= 99999999999999999999".to_owned()),
    ]
}

fn table() -> impl Strategy<Value = String> {
    let mode = prop_oneof![
        Just("mode = 'append'".to_owned()),
        Just("mode = 'overwrite'".to_owned()),
        "[a-z]{1,5}".prop_map(|c| format!("mode = 'replace_where'\nreplace_where = \"_{c} > 1\"")),
    ];
    let columns = prop::collection::btree_set("[a-z]{1,6}", 0..3);
    (mode, columns, any::<bool>(), 1_u64..1000, "[ -~]{0,20}").prop_map(|(mode, columns, audit, size, property)| {
        format!(
            "{mode}\npartition_by = {:?}\naudit = {audit}\ntarget_file_size = '{size}MiB'\nproperties = {{ p = {} }}\n",
            columns.into_iter().collect::<Vec<_>>(),
            serde_json::to_string(&property.replace('$', "")).unwrap(),
        )
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_text_gives_a_pipeline_or_errors(text in prop::collection::vec(fragment(), 0..8)) {
        let _ = read(&text.concat());
    }

    #[test]
    fn a_damaged_job_gives_a_pipeline_or_errors(
        at in any::<prop::sample::Index>(),
        cut in 0_usize..12,
        insert in fragment(),
    ) {
        let mut text: Vec<char> = EXAMPLE.chars().collect();
        let at = at.index(text.len());
        let end = (at + cut).min(text.len());
        text.splice(at..end, insert.chars());
        if let Err(errors) = read(&text.into_iter().collect::<String>()) {
            prop_assert!(!errors.list().is_empty());
        }
    }

    #[test]
    fn any_sql_gives_reads_or_a_problem(text in "[ -~\n]{0,60}") {
        let _ = sql::query_reads(&text);
        let _ = sql::check_expression(&text);
        let _ = sql::check_postgres_query(&text);
    }

    #[test]
    fn generated_jobs_are_valid_and_survive_their_json(tables in prop::collection::vec(table(), 1..6)) {
        let mut text = "[job]\nname = 'j'\n[warehouse]\nroot = '/lake'\n".to_owned();
        for (index, table) in tables.iter().enumerate() {
            // Every table but the last reads the one after it, so that the order must be turned around.
            let from = if index + 1 < tables.len() { format!("s.t{}", index + 1) } else { "outside.t".to_owned() };
            text.push_str(&format!("[[table]]\nname = 's.t{index}'\nfrom = '{from}'\n{table}"));
        }
        let pipeline = read(&text).unwrap();
        prop_assert_eq!(pipeline.tables.len(), tables.len());
        for (index, needed) in pipeline.dependencies().iter().enumerate() {
            prop_assert!(needed.iter().all(|needed| *needed < index));
        }
        let json = serde_json::to_string(&pipeline).unwrap();
        prop_assert_eq!(serde_json::from_str::<Pipeline>(&json).unwrap(), pipeline);
    }
}
