//! The documentation and the examples agree with the reader.

use std::fs;

use super::*;

fn project() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn reference() -> String {
    fs::read_to_string(project().join("docs/job-toml.md")).unwrap()
}

#[test]
fn the_example_of_the_reference_is_valid() {
    let reference = reference();
    let example = reference.split("```toml\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
    let pipeline = read(example).unwrap();
    assert_eq!(pipeline.tables.len(), 3);
}

#[test]
fn the_reference_has_every_key_every_choice_and_every_code() {
    fn names(schema: &serde_json::Value, found: &mut Vec<String>) {
        for (key, value) in schema.as_object().into_iter().flatten() {
            if key == "properties" {
                found.extend(value.as_object().unwrap().keys().cloned());
            }
            found.extend((key == "const").then(|| value.as_str().unwrap().to_owned()));
            names(value, found);
        }
        schema.as_array().into_iter().flatten().for_each(|value| names(value, found));
    }
    let reference = reference();
    let mut found: Vec<String> = Code::ALL.iter().map(|code| format!("`{}`", code.name())).collect();
    let mut keys = Vec::new();
    names(schema::of_file(), &mut keys);
    keys.retain(|key| {
        ![
            "job",
            "params",
            "warehouse",
            "storage",
            "connection",
            "source",
            "table",
            "env",
            "additionalProperties",
            "file",
        ]
        .contains(&key.as_str())
    });
    assert!(keys.len() > 60);
    found.extend(keys.into_iter().map(|key| format!("`{key}`")));
    let missing: Vec<String> = found.into_iter().filter(|name| !reference.contains(name)).collect();
    assert!(missing.is_empty(), "docs/job-toml.md says nothing about {missing:?}");
}

#[test]
fn the_examples_of_the_project_are_valid() {
    for entry in fs::read_dir(project().join("examples")).unwrap() {
        let path = entry.unwrap().path().join("job.toml");
        if path.exists() {
            let options = LoadOptions::new(options().today, project().canonicalize().unwrap());
            let pipeline = load(&path, &options).unwrap_or_else(|errors| panic!("{errors}"));
            assert!(!pipeline.tables.is_empty());
        }
    }
}
