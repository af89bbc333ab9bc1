//! Samples of text files and the schema they give. Edge (reads); the rules are in [`super::csv`] and [`super::json`].

use arrow::datatypes::Schema;
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};

use super::input::{self, Blocks, Input, OpenFile};
use super::listing::{Listing, SourceFile};
use crate::sql_type::sql_type;
use crate::{EngineError, Result};

/// Files that are looked into.
const SAMPLED_FILES: usize = 10;
/// Bytes of each (more when its first record is longer).
const SAMPLE_BYTES: usize = 1024 * 1024;
const CONCURRENT_READS: usize = 8;

/// The start of a file, decompressed.
#[derive(Debug, Clone)]
pub(super) struct Sample {
    /// The file's name.
    pub name: String,
    /// Its first bytes.
    pub bytes: Bytes,
    /// They are all of it.
    pub is_whole: bool,
}

/// Files spread evenly over the listing, the first one among them.
pub(super) fn sampled(files: &[SourceFile]) -> Vec<&SourceFile> {
    let not_empty: Vec<&SourceFile> = files.iter().filter(|file| file.size > 0).collect();
    let count = not_empty.len().min(SAMPLED_FILES);
    (0..count).filter_map(|at| not_empty.get(at * not_empty.len() / count).copied()).collect()
}

/// Samples of a listing's files, in its order.
///
/// # Errors
/// The store's class; `data-quality` for compressed data that is damaged.
pub(super) async fn samples(listing: &Listing) -> Result<Vec<Sample>> {
    let files: Vec<OpenFile> = sampled(&listing.files).into_iter().map(|file| listing.open(file)).collect();
    stream::iter(files.into_iter().map(sample)).buffered(CONCURRENT_READS).try_collect().await
}

async fn sample(file: OpenFile) -> Result<Sample> {
    let compression = input::compression(&file.file.key);
    let blocks = if compression.is_compressed() {
        Blocks::decompressed(&file, compression)
    } else {
        Blocks::stored(&file, 0, SAMPLE_BYTES as u64)
    };
    let mut input = Input::new(blocks, 0);
    while input.window().len() < SAMPLE_BYTES && !input.is_last() {
        input.grow(&file).await?;
    }
    // A file that ends exactly here is whole only when nothing more comes.
    let is_whole = input.is_last() || (!compression.is_compressed() && input.window().len() as u64 == file.file.size);
    Ok(Sample { name: file.name.clone(), bytes: input.window().clone(), is_whole })
}

/// `invalid-job`: there is nothing that a schema could come from.
pub(super) fn nothing_to_infer(what: &str) -> EngineError {
    EngineError::invalid(
        "source-schema",
        format!("the columns cannot be inferred: {what} in the sampled files; declare the schema"),
    )
}

/// The union of files' schemas: columns in the order in which they first appear, nullable; one name, one type.
///
/// # Errors
/// `invalid-job` (code `schema-conflict`) naming both files and the column.
pub(super) fn union<'a>(schemas: impl Iterator<Item = (&'a str, &'a Schema)>) -> Result<Schema> {
    let mut columns: Vec<(&str, arrow::datatypes::Field)> = Vec::new();
    for (file, schema) in schemas {
        for field in schema.fields() {
            match columns.iter().find(|(_, known)| known.name() == field.name()) {
                None => {
                    columns.push((file, field.as_ref().clone().with_nullable(true).with_metadata(Default::default())))
                }
                Some((_, known)) if known.data_type().equals_datatype(field.data_type()) => {}
                Some((first, known)) => {
                    return Err(EngineError::invalid(
                        "schema-conflict",
                        format!(
                            "column '{}' is {} in '{first}' and {} in '{file}'; declare the schema to cast both",
                            field.name(),
                            sql_type(known.data_type()),
                            sql_type(field.data_type())
                        ),
                    ));
                }
            }
        }
    }
    Ok(Schema::new(columns.into_iter().map(|(_, field)| field).collect::<Vec<_>>()))
}

#[cfg(test)]
mod tests {
    use arrow::datatypes::{DataType, Field};

    use super::*;

    #[test]
    fn a_column_with_two_types_names_both_files() {
        let a = Schema::new(vec![Field::new("x", DataType::Int64, false)]);
        let b = Schema::new(vec![Field::new("y", DataType::Int64, false), Field::new("x", DataType::Utf8, false)]);
        let error = union([("one", &a), ("two", &b)].into_iter()).unwrap_err();
        assert_eq!(error.code(), "schema-conflict");
        assert!(error.to_string().starts_with("column 'x' is bigint in 'one' and string in 'two'"), "{error}");
        let merged = union([("one", &a), ("two", &a)].into_iter()).unwrap();
        assert!(merged.field(0).is_nullable());
    }

    #[test]
    fn sampled_files_are_spread_and_start_with_the_first() {
        let file = |at: usize| SourceFile { key: at.to_string(), size: at as u64, etag: None, modified_ms: 0 };
        let files: Vec<SourceFile> = (0..101).map(file).collect();
        let keys: Vec<&str> = sampled(&files).into_iter().map(|file| file.key.as_str()).collect();
        assert_eq!(keys, ["1", "11", "21", "31", "41", "51", "61", "71", "81", "91"]);
        assert!(sampled(&files[..1]).is_empty());
    }
}
