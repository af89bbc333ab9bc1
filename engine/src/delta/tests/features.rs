//! Tables that others made: deletion vectors, column mapping, constraints, newer protocols.

use arrow::array::{ArrayRef, Int64Array, StringArray, StructArray};
use deltalake_core::kernel::{DeletionVectorDescriptor, StorageType};
use lake_proto::ErrorClass;
use parquet::arrow::ArrowWriter;
use parquet::file::properties::WriterProperties;
use serde_json::{Value, json};

use super::super::dv::tests::{encode, inline};
use super::*;

fn protocol(reader: &[&str], writer: &[&str]) -> Value {
    json!({"protocol": {"minReaderVersion": 3, "minWriterVersion": 7, "readerFeatures": reader, "writerFeatures": writer}})
}

fn metadata(fields: Value, partition_by: &[&str], configuration: Value) -> Value {
    let schema = json!({"type": "struct", "fields": fields}).to_string();
    json!({"metaData": {
        "id": "5fba94ed-9794-4965-ba6e-6ee3c0d22af9", "format": {"provider": "parquet", "options": {}},
        "schemaString": schema, "partitionColumns": partition_by, "configuration": configuration, "createdTime": 1
    }})
}

fn field(name: &str, kind: &str) -> Value {
    json!({"name": name, "type": kind, "nullable": true, "metadata": {}})
}

fn add(path: &str, size: u64, rows: usize, vector: Option<&DeletionVectorDescriptor>) -> Value {
    let mut add = json!({"path": path, "partitionValues": {}, "size": size, "modificationTime": 1, "dataChange": true,
        "stats": json!({"numRecords": rows, "tightBounds": vector.is_none()}).to_string()});
    if let Some(vector) = vector {
        add["deletionVector"] = serde_json::to_value(vector).unwrap();
    }
    json!({ "add": add })
}

/// A file of numbers 0..rows in row groups of 100.
fn numbers(lake: &Lake, table: &str, name: &str, rows: i64) -> u64 {
    let column: ArrayRef = Arc::new(Int64Array::from_iter_values(0..rows));
    write_file(lake, table, name, &RecordBatch::try_from_iter([("n", column)]).unwrap())
}

fn write_file(lake: &Lake, table: &str, name: &str, batch: &RecordBatch) -> u64 {
    std::fs::create_dir_all(lake.path(table)).unwrap();
    let path = lake.path(table).join(name);
    let properties = WriterProperties::builder().set_max_row_group_row_count(Some(100)).build();
    let file = std::fs::File::create(&path).unwrap();
    let mut writer = ArrowWriter::try_new(file, batch.schema(), Some(properties)).unwrap();
    writer.write(batch).unwrap();
    writer.close().unwrap();
    std::fs::metadata(path).unwrap().len()
}

async fn with_vector(lake: &Lake, vector: &DeletionVectorDescriptor) -> Snapshot {
    let size = numbers(lake, "t", "f.parquet", 1000);
    let protocol = protocol(&["deletionVectors"], &["deletionVectors"]);
    let metadata = metadata(json!([field("n", "long")]), &[], json!({}));
    lake.hand_written("t", &[&[protocol, metadata, add("f.parquet", size, 1000, Some(vector))]]);
    lake.open("t").await
}

const DELETED: [u64; 6] = [0, 99, 100, 500, 501, 999];

async fn expect_deleted(lake: &Lake, snapshot: &Snapshot) {
    let total: i64 = (0..1000).sum::<i64>() - [0, 99, 100, 500, 501, 999].iter().sum::<i64>();
    let answer = lake.query(snapshot, "SELECT count(*), count(DISTINCT n), sum(n) FROM t").await;
    assert_eq!(answer, [format!("994|994|{total}")]);
    assert_eq!(lake.query(snapshot, "SELECT count(*) FROM t").await, ["994"]);
    let some = lake.query(snapshot, "SELECT n FROM t WHERE n BETWEEN 498 AND 503 ORDER BY n").await;
    assert_eq!(some, ["498", "499", "502", "503"]);
}

#[tokio::test]
async fn an_inline_deletion_vector_hides_its_rows() {
    let lake = lake(2);
    let snapshot = with_vector(&lake, &inline(&DELETED)).await;
    expect_deleted(&lake, &snapshot).await;
    assert_eq!(lake.query(&snapshot, "SELECT n FROM t ORDER BY n LIMIT 1").await, ["1"]);
}

/// A deletion vector file that holds a decoy and then these rows; its offset and size.
fn vector_file(path: &Path, rows: &[u64]) -> (i32, i32) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    let mut file = vec![1_u8];
    let mut offset = 0;
    for rows in [&[1, 2, 3][..], rows] {
        offset = i32::try_from(file.len()).unwrap();
        let body = encode(rows);
        file.extend(u32::try_from(body.len()).unwrap().to_be_bytes());
        file.extend(&body);
        file.extend(crc32fast::hash(&body).to_be_bytes());
    }
    std::fs::write(path, file).unwrap();
    (offset, i32::try_from(encode(rows).len()).unwrap())
}

#[tokio::test]
async fn deletion_vector_files_are_found_by_relative_and_absolute_path() {
    let uuid = uuid::Uuid::parse_str("d2c639aa-8816-431a-aaf6-d3fe2512ff61").unwrap();
    for storage_type in [StorageType::UuidRelativePath, StorageType::AbsolutePath] {
        let lake = lake(2);
        let path = lake.path("t").join(format!("ab/deletion_vector_{uuid}.bin"));
        let (offset, size_in_bytes) = vector_file(&path, &DELETED);
        let path_or_inline_dv = match storage_type {
            StorageType::UuidRelativePath => format!("ab{}", z85::encode(uuid.as_bytes())),
            _ => Url::from_file_path(&path).unwrap().to_string(),
        };
        let vector = DeletionVectorDescriptor {
            storage_type,
            path_or_inline_dv,
            offset: Some(offset),
            size_in_bytes,
            cardinality: 6,
        };
        let snapshot = with_vector(&lake, &vector).await;
        expect_deleted(&lake, &snapshot).await;
        let mut bytes = std::fs::read(&path).unwrap();
        let last = bytes.len() - 6;
        bytes[last] ^= 1;
        std::fs::write(&path, bytes).unwrap();
        let plan = lake.plan(DeltaTableProvider::new(snapshot), "SELECT n FROM t").await;
        assert_eq!(lake.run(plan).await.unwrap_err().code(), "deletion-vector");
    }
}

#[tokio::test]
async fn overwriting_a_table_with_deletion_vectors_removes_the_file_with_its_vector() {
    let lake = lake(1);
    let snapshot = with_vector(&lake, &inline(&DELETED)).await;
    assert_eq!(snapshot.live_files().await.unwrap()[0].deleted_rows(), 6);
    let snapshot = lake.put("t", Mode::Overwrite, 1, "SELECT CAST(5 AS BIGINT) AS n").await;
    assert_eq!(lake.query(&snapshot, "SELECT n FROM t").await, ["5"]);
    let log = std::fs::read_to_string(lake.path("t").join("_delta_log/00000000000000000001.json")).unwrap();
    let remove = log.lines().find(|line| line.starts_with("{\"remove\"")).unwrap();
    assert!(remove.contains("deletionVector"), "{remove}");
}

fn mapped(name: &str, physical: &str, id: i64, kind: Value) -> Value {
    json!({"name": name, "type": kind, "nullable": true, "metadata": {
        "delta.columnMapping.id": id, "delta.columnMapping.physicalName": physical}})
}

fn with_id(name: &str, kind: DataType, id: &str) -> Field {
    Field::new(name, kind, true).with_metadata([("PARQUET:field_id".to_owned(), id.to_owned())].into())
}

/// A mapped table of two files; the second was written before column `added` was there and, in id mode, calls its
/// columns by other names.
async fn mapped_table(lake: &Lake, mode: &str) -> Snapshot {
    let inner = json!({"type": "struct", "fields": [mapped("city", "col-city", 4, json!("string"))]});
    let fields = json!([
        mapped("customer id", "col-id", 1, json!("long")),
        mapped("country", "col-country", 2, json!("string")),
        mapped("address", "col-address", 3, inner),
        mapped("added", "col-added", 5, json!("string")),
    ]);
    let configuration = json!({"delta.columnMapping.mode": mode, "delta.columnMapping.maxColumnId": "5"});
    let file = |names: [&str; 3], id: i64, with_added: bool| {
        let city = with_id("col-city", DataType::Utf8, "4");
        let cities: ArrayRef = Arc::new(StringArray::from(vec![format!("city {id}")]));
        let address: ArrayRef = Arc::new(StructArray::from(vec![(Arc::new(city.clone()), cities)]));
        let mut fields =
            vec![with_id(names[0], DataType::Int64, "1"), with_id(names[1], DataType::Struct(vec![city].into()), "3")];
        let mut columns: Vec<ArrayRef> = vec![Arc::new(Int64Array::from(vec![id])), address];
        if with_added {
            fields.push(with_id(names[2], DataType::Utf8, "5"));
            columns.push(Arc::new(StringArray::from(vec![format!("new {id}")])));
        }
        RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).unwrap()
    };
    let plain = ["col-id", "col-address", "col-added"];
    let second = if mode == "id" { ["whatever", "col-id", "x"] } else { plain };
    let mut actions =
        vec![protocol(&["columnMapping"], &["columnMapping"]), metadata(fields, &["country"], configuration)];
    for (name, country, batch) in
        [("a.parquet", "NL", file(plain, 1, true)), ("b.parquet", "DE", file(second, 2, false))]
    {
        let size = write_file(lake, "t", name, &batch);
        let mut action = add(name, size, 1, None);
        action["add"]["partitionValues"] = json!({"col-country": country});
        action["add"]["stats"] = json!(
            json!({"numRecords": 1, "minValues": {"col-id": if country == "NL" { 1 } else { 2 }},
            "maxValues": {"col-id": if country == "NL" { 1 } else { 2 }}, "nullCount": {"col-id": 0}})
            .to_string()
        );
        actions.push(action);
    }
    lake.hand_written("t", &[&actions]);
    lake.open("t").await
}

#[tokio::test]
async fn mapped_columns_are_read_by_name_and_by_id() {
    for mode in ["name", "id"] {
        let lake = lake(2);
        let snapshot = mapped_table(&lake, mode).await;
        let sql = r#"SELECT "customer id", country, address['city'], added FROM t ORDER BY 1"#;
        assert_eq!(lake.query(&snapshot, sql).await, ["1|NL|city 1|new 1", "2|DE|city 2|"], "{mode}");
        let sql = r#"SELECT address FROM t WHERE "customer id" = 2"#;
        assert_eq!(lake.query(&snapshot, sql).await, ["{city: city 2}"], "{mode}");
        let plan = lake.plan(DeltaTableProvider::new(snapshot.clone()), sql).await;
        assert_eq!(
            reads::pieces(&plan, &lake).await.iter().flatten().count(),
            1,
            "{mode}: statistics use physical names"
        );
        let nested = r#"SELECT "customer id" FROM t WHERE address['city'] = 'city 1' AND country = 'NL'"#;
        assert_eq!(lake.query(&snapshot, nested).await, ["1"], "{mode}");
    }
}

#[tokio::test]
async fn mapped_tables_are_written_under_physical_names() {
    for mode in ["name", "id"] {
        let lake = lake(1);
        mapped_table(&lake, mode).await;
        let sql = r#"SELECT CAST(3 AS BIGINT) AS "customer id", 'FR' AS country, named_struct('city', 'Paris') AS address, NULL AS added"#;
        let snapshot = lake.append("t", 1, sql).await;
        let sql = r#"SELECT "customer id", country, address['city'], added FROM t WHERE "customer id" > 1 ORDER BY 1"#;
        assert_eq!(lake.query(&snapshot, sql).await, ["2|DE|city 2|", "3|FR|Paris|"], "{mode}");
        let files = snapshot.live_files().await.unwrap();
        let new = files.iter().find(|file| file.path.contains('/')).unwrap();
        assert!(!new.path.contains("country"), "{}", new.path);
        assert_eq!(new.partition_values["col-country"].as_deref(), Some("FR"));
        assert!(new.stats.as_ref().unwrap().contains("col-id"), "{:?}", new.stats);
        let file = std::fs::File::open(lake.path("t").join(&new.path)).unwrap();
        let footer = parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder::try_new(file).unwrap();
        assert_eq!(footer.schema().field_with_name("col-id").unwrap().metadata()["PARQUET:field_id"], "1");
    }
}

#[tokio::test]
async fn columns_that_a_file_lacks_are_null_and_widened_types_are_cast() {
    let lake = lake(1);
    let size = numbers(&lake, "t", "f.parquet", 3);
    let narrow: ArrayRef = Arc::new(arrow::array::Int32Array::from(vec![7]));
    let narrow = write_file(&lake, "t", "g.parquet", &RecordBatch::try_from_iter([("n", narrow)]).unwrap());
    let fields = json!([field("n", "long"), field("later", "string")]);
    let actions = [
        protocol(&["typeWidening"], &["typeWidening"]),
        metadata(fields, &[], json!({})),
        add("f.parquet", size, 3, None),
        add("g.parquet", narrow, 1, None),
    ];
    lake.hand_written("t", &[&actions]);
    let snapshot = lake.open("t").await;
    assert_eq!(lake.query(&snapshot, "SELECT n, later FROM t ORDER BY n").await, ["0|", "1|", "2|", "7|"]);
    assert_eq!(lake.query(&snapshot, "SELECT n FROM t WHERE later IS NULL AND n > 2").await, ["7"]);
}

#[tokio::test]
async fn tables_of_a_newer_protocol_are_refused_by_name() {
    let lake = lake(1);
    let metadata = || metadata(json!([field("n", "long")]), &[], json!({}));
    let newer = json!({"protocol": {"minReaderVersion": 9, "minWriterVersion": 9}});
    lake.hand_written("newer", &[&[newer, metadata()]]);
    lake.hand_written("unknown", &[&[protocol(&["hyperColumns"], &["hyperColumns"]), metadata()]]);
    for (table, what) in [("newer", "9"), ("unknown", "hyperColumns")] {
        let error = DeltaTable::open(&lake.stores, &lake.location(table)).await.unwrap_err();
        assert_eq!((error.class(), error.code()), (ErrorClass::InvalidJob, "delta-protocol"), "{error}");
        assert!(error.to_string().contains(what) && error.to_string().contains(table), "{error}");
    }
    lake.hand_written("writer", &[&[protocol(&[], &["rowTracking", "domainMetadata"]), metadata()]]);
    let snapshot = lake.open("writer").await;
    assert_eq!(lake.query(&snapshot, "SELECT count(*) FROM t").await, ["0"]);
    let error = WriteSpec::new(&snapshot, 1 << 20).unwrap_err();
    assert!(error.code() == "delta-protocol" && error.to_string().contains("rowTracking"), "{error}");
}

#[tokio::test]
async fn not_null_and_declared_constraints_are_known_and_enforced() {
    let lake = lake(1);
    let mut strict = field("n", "long");
    strict["nullable"] = json!(false);
    let mut invariant = field("m", "long");
    invariant["metadata"] = json!({"delta.invariants": json!({"expression": {"expression": "m > 3"}}).to_string()});
    let configuration = json!({"delta.constraints.positive": "n > 0"});
    let legacy = json!({"protocol": {"minReaderVersion": 1, "minWriterVersion": 3}});
    lake.hand_written("t", &[&[legacy, metadata(json!([strict, invariant]), &[], configuration)]]);
    let snapshot = lake.open("t").await;
    let expected = [("positive", "n > 0"), ("invariant of m", "m > 3")];
    assert_eq!(snapshot.constraints(), expected.map(|(name, sql)| (name.to_owned(), sql.to_owned())));
    let spec = WriteSpec::new(&snapshot, 1 << 20).unwrap();
    let error = lake.write_with(spec.clone(), "SELECT 1 AS m").await.unwrap_err();
    assert_eq!(error.code(), "write-columns");
    let error = lake.write_with(spec, "SELECT CAST(NULL AS BIGINT) AS n, 1 AS m").await.unwrap_err();
    assert_eq!((error.class(), error.code()), (ErrorClass::DataQuality, "constraint"));
    assert!(error.to_string().contains("n NOT NULL"), "{error}");
}

#[tokio::test]
async fn a_directory_without_a_log_is_no_table() {
    let lake = lake(1);
    assert!(DeltaTable::open(&lake.stores, &lake.location("none")).await.unwrap().is_none());
    std::fs::create_dir_all(lake.path("data")).unwrap();
    std::fs::write(lake.path("data").join("f.csv"), "a").unwrap();
    assert!(DeltaTable::open(&lake.stores, &lake.location("data")).await.unwrap().is_none());
}
