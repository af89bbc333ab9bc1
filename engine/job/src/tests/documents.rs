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
fn the_example_of_the_readme_is_valid_and_all_that_it_names_is_there() {
    let readme = fs::read_to_string(project().join("README.md")).unwrap();
    let example = readme.split("```toml\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
    assert_eq!(read(example).unwrap().tables.len(), 3);
    let links = readme.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    let words = readme.split(|c: char| c.is_whitespace() || "`(),;".contains(c));
    let scripts = words.filter(|word| word.starts_with("scripts/") || word.starts_with("examples/retail/job"));
    let named: Vec<&str> = links.chain(scripts).collect();
    assert!(named.len() > 10, "{named:?}");
    for path in named {
        assert!(project().join(path).exists(), "README.md names {path}");
    }
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
