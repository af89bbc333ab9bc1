//! However a file is cut, every row is read once.

use bytes::Bytes;
use futures::TryStreamExt;
use object_store::memory::InMemory;
use object_store::{ObjectStore, ObjectStoreExt};
use proptest::prelude::*;

use super::*;
use crate::source::files::csv::dialect::Dialect;
use crate::source::files::csv::{self, CsvFormat};
use crate::source::files::input::OpenFile;
use crate::source::files::json;
use crate::source::files::listing::SourceFile;
use crate::source::files::text::TextPlan;
use arrow::array::AsArray;
use arrow::datatypes::{DataType, Field, Schema};

async fn memory_file(content: Vec<u8>) -> OpenFile {
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let path = object_store::path::Path::from("f");
    store.put(&path, Bytes::from(content).into()).await.unwrap();
    let meta = store.head(&path).await.unwrap();
    let file = SourceFile { key: "f".to_owned(), size: meta.size, etag: meta.e_tag, modified_ms: 0 };
    OpenFile { store, file, name: "memory://f".to_owned() }
}

fn plan() -> Arc<TextPlan> {
    let fields = ["a", "b", "_rescued"].map(|name| Field::new(name, DataType::Utf8View, true));
    Arc::new(TextPlan::new(&Arc::new(Schema::new(fields.to_vec())), ParseMode::Permissive, &[0, 1, 2], 3).unwrap())
}

fn format(has_header: bool) -> Arc<CsvFormat> {
    let options = CsvOptions { comment: Some('#'), ..CsvOptions::default() };
    let dialect = Dialect::new(&options).unwrap();
    Arc::new(CsvFormat { dialect, has_header, is_declared: true, null_value: None })
}

/// The rows of the pieces between the cuts, in order.
async fn read(file: &OpenFile, cuts: &[u64], format: Option<&Arc<CsvFormat>>) -> Vec<String> {
    let rows: Vec<String> =
        read_batches(file, cuts, format).await.iter().flat_map(|batch| rows(std::slice::from_ref(batch))).collect();
    rows.into_iter().filter(|row| row != "a|b|_rescued").collect()
}

async fn read_batches(file: &OpenFile, cuts: &[u64], format: Option<&Arc<CsvFormat>>) -> Vec<RecordBatch> {
    let mut read = Vec::new();
    for pair in cuts.windows(2) {
        let (start, end) = (pair[0], pair[1]);
        let batches = match format {
            Some(format) => csv::read(format.clone(), plan(), file.clone(), start, end).await.unwrap(),
            None => json::read(plan(), file.clone(), start, end),
        };
        let batches: Vec<RecordBatch> = batches.try_collect().await.unwrap();
        read.extend(batches);
    }
    read
}

fn cuts(size: usize, cuts: Vec<usize>) -> Vec<u64> {
    let mut cuts: Vec<u64> = cuts.into_iter().map(|cut| cut.min(size) as u64).collect();
    cuts.extend([0, size as u64]);
    cuts.sort_unstable();
    cuts.dedup();
    cuts
}

fn check(content: &str, at: Vec<usize>, format: Option<Arc<CsvFormat>>) -> (Vec<String>, Vec<String>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let file = memory_file(content.as_bytes().to_vec()).await;
        let whole = read(&file, &cuts(content.len(), vec![]), format.as_ref()).await;
        let parts = read(&file, &cuts(content.len(), at), format.as_ref()).await;
        (whole, parts)
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn csv_pieces_of_any_cuts_give_the_rows_of_the_whole_file(
        lines in proptest::collection::vec("[a-cß\"#]{0,5},[a-c]{0,30}|#[a,]{0,9}||x\r", 0..12),
        ends_with_line_break: bool,
        has_header: bool,
        at in proptest::collection::vec(0_usize..200, 0..6),
    ) {
        let mut content = if has_header { "# first\n\na,b\n".to_owned() } else { String::new() };
        content += &lines.join("\n");
        if ends_with_line_break {
            content.push('\n');
        }
        let (whole, parts) = check(&content, at, Some(format(has_header)));
        prop_assert_eq!(whole, parts);
    }

    #[test]
    fn json_pieces_of_any_cuts_give_the_rows_of_the_whole_file(
        lines in proptest::collection::vec("\\{\"a\":\"[a-cß]{0,9}\"\\}|\\{\"b\":[0-9]{1,4}\\}|oops|| ", 0..12),
        at in proptest::collection::vec(0_usize..200, 0..6),
    ) {
        let (whole, parts) = check(&lines.join("\r\n"), at, None);
        prop_assert_eq!(whole, parts);
    }
}

#[tokio::test]
async fn a_line_longer_than_many_requests_is_one_row() {
    let long = "x".repeat(9 << 20);
    let content = format!("a,b\n1,{long}\n2,y\n");
    let file = memory_file(content.clone().into_bytes()).await;
    let cuts = cuts(content.len(), vec![5, 100, 1 << 20, 5 << 20]);
    let batches = read_batches(&file, &cuts, Some(&format(true))).await;
    let lengths: Vec<Option<usize>> = batches
        .iter()
        .flat_map(|batch| batch.column(1).as_string_view().iter().map(|text| text.map(str::len)).collect::<Vec<_>>())
        .collect();
    assert_eq!(lengths, [Some(long.len()), Some(1)]);
}
