//! TPC-H tables as folders of Parquet files, or as Delta tables, at any scale factor.
//!
//! The Delta log is written here by hand (version 0: protocol, metadata, one `add` per file with its statistics), so
//! that what our engine reads in tests and benchmarks was not written by it.

use std::fs::File;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, RecordBatchReader};
use arrow::compute::{max, min};
use arrow::datatypes::{DataType, Date32Type, Int32Type, Int64Type, Schema};
use clap::{Parser, ValueEnum};
use parquet::arrow::ArrowWriter;
use parquet::basic::Compression;
use parquet::file::properties::WriterProperties;
use serde_json::{Map, Value, json};
use tpchgen::generators as rows;
use tpchgen_arrow as arrows;

const BATCH_ROWS: usize = 65_536;
const ROW_GROUP_ROWS: usize = 1 << 20;

#[derive(Parser)]
struct Options {
    /// 1 = about 1 GB of text.
    #[arg(long, default_value_t = 0.01)]
    scale_factor: f64,
    #[arg(long, value_enum, default_value = "delta")]
    format: Format,
    /// Files of each big table; default: one per started unit of scale, at least two.
    #[arg(long)]
    files: Option<i32>,
    /// Folder that gets one folder per table; must not hold tables yet.
    #[arg(long)]
    out: PathBuf,
    /// Only these tables.
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    Parquet,
    Delta,
}

/// A file that was written, as the Delta log describes it.
struct DataFile {
    name: String,
    bytes: u64,
    stats: Value,
}

fn main() -> Result<()> {
    let options = Options::parse();
    let per_scale = (1..=1000).find(|n| f64::from(*n) >= options.scale_factor).unwrap_or(1000);
    let files = options.files.unwrap_or(per_scale.max(2)).max(1);
    let big = ["customer", "lineitem", "orders", "part", "partsupp", "supplier"];
    let names = big.iter().map(|name| (*name, files)).chain([("nation", 1), ("region", 1)]);
    for (name, files) in names.filter(|(name, _)| options.only.is_empty() || options.only.iter().any(|n| n == name)) {
        let rows = table(&options, name, files).with_context(|| format!("table {name}"))?;
        eprintln!("{name}: {rows} rows in {files} files");
    }
    Ok(())
}

/// Writes one table, its files by as many threads as there are cores.
fn table(options: &Options, name: &str, files: i32) -> Result<u64> {
    let folder = options.out.join(name);
    std::fs::create_dir_all(&folder)?;
    if folder.read_dir()?.next().is_some() {
        bail!("{} is not empty", folder.display());
    }
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let parts: Vec<i32> = (1..=files).collect();
    let mut written = Vec::new();
    for parts in parts.chunks(threads) {
        let folder = &folder;
        let results: Vec<Result<(Schema, DataFile)>> = std::thread::scope(|scope| {
            let start = |part: &i32| {
                let part = *part;
                scope.spawn(move || write(folder, reader(name, options.scale_factor, part, files)?, part))
            };
            let running: Vec<_> = parts.iter().map(start).collect();
            running.into_iter().map(|thread| thread.join().unwrap_or_else(|_| bail!("a thread has panicked"))).collect()
        });
        written.extend(results.into_iter().collect::<Result<Vec<_>>>()?);
    }
    let rows = written.iter().filter_map(|(_, file)| file.stats.get("numRecords")?.as_u64()).sum();
    if options.format == Format::Delta {
        delta_log(&folder, name, &written)?;
    }
    Ok(rows)
}

fn reader(name: &str, scale: f64, part: i32, parts: i32) -> Result<Box<dyn RecordBatchReader + Send>> {
    Ok(match name {
        "customer" => Box::new(
            arrows::CustomerArrow::new(rows::CustomerGenerator::new(scale, part, parts)).with_batch_size(BATCH_ROWS),
        ),
        "lineitem" => Box::new(
            arrows::LineItemArrow::new(rows::LineItemGenerator::new(scale, part, parts)).with_batch_size(BATCH_ROWS),
        ),
        "orders" => {
            Box::new(arrows::OrderArrow::new(rows::OrderGenerator::new(scale, part, parts)).with_batch_size(BATCH_ROWS))
        }
        "part" => {
            Box::new(arrows::PartArrow::new(rows::PartGenerator::new(scale, part, parts)).with_batch_size(BATCH_ROWS))
        }
        "partsupp" => Box::new(
            arrows::PartSuppArrow::new(rows::PartSuppGenerator::new(scale, part, parts)).with_batch_size(BATCH_ROWS),
        ),
        "supplier" => Box::new(
            arrows::SupplierArrow::new(rows::SupplierGenerator::new(scale, part, parts)).with_batch_size(BATCH_ROWS),
        ),
        "nation" => Box::new(arrows::NationArrow::new(rows::NationGenerator::new(scale, part, parts))),
        "region" => Box::new(arrows::RegionArrow::new(rows::RegionGenerator::new(scale, part, parts))),
        other => bail!("TPC-H has no table {other}"),
    })
}

fn write(folder: &Path, reader: Box<dyn RecordBatchReader + Send>, part: i32) -> Result<(Schema, DataFile)> {
    let schema = reader.schema();
    let name = format!("part-{part:05}.snappy.parquet");
    let properties = WriterProperties::builder()
        .set_compression(Compression::SNAPPY)
        .set_max_row_group_row_count(Some(ROW_GROUP_ROWS))
        .build();
    let path = folder.join(&name);
    let mut writer = ArrowWriter::try_new(File::create_new(&path)?, schema.clone(), Some(properties))?;
    let mut stats = Stats::default();
    for batch in reader {
        let batch = batch?;
        stats.add(&batch);
        writer.write(&batch)?;
    }
    writer.close()?;
    let bytes = path.metadata()?.len();
    Ok((schema.as_ref().clone(), DataFile { name, bytes, stats: stats.finish() }))
}

/// Row count, and smallest and largest value of the columns that queries prune by.
#[derive(Default)]
struct Stats {
    rows: usize,
    smallest: Map<String, Value>,
    largest: Map<String, Value>,
}

impl Stats {
    fn add(&mut self, batch: &RecordBatch) {
        self.rows += batch.num_rows();
        for (field, column) in batch.schema().fields().iter().zip(batch.columns()) {
            let Some((low, high)) = range(column) else { continue };
            let name = field.name();
            let less = |a: &Value, b: &Value| match (a.as_i64(), b.as_i64(), a.as_str(), b.as_str()) {
                (Some(a), Some(b), ..) => a < b,
                (_, _, Some(a), Some(b)) => a < b,
                _ => false,
            };
            if self.smallest.get(name).is_none_or(|known| less(&low, known)) {
                self.smallest.insert(name.clone(), low);
            }
            if self.largest.get(name).is_none_or(|known| less(known, &high)) {
                self.largest.insert(name.clone(), high);
            }
        }
    }

    fn finish(self) -> Value {
        let nulls: Map<String, Value> = self.smallest.keys().map(|name| (name.clone(), json!(0))).collect();
        json!({
            "numRecords": self.rows,
            "minValues": self.smallest,
            "maxValues": self.largest,
            "nullCount": nulls,
        })
    }
}

/// TPC-H columns are never NULL.
fn range(column: &ArrayRef) -> Option<(Value, Value)> {
    match column.data_type() {
        DataType::Int32 => {
            let column = column.as_primitive::<Int32Type>();
            Some((json!(min(column)?), json!(max(column)?)))
        }
        DataType::Int64 => {
            let column = column.as_primitive::<Int64Type>();
            Some((json!(min(column)?), json!(max(column)?)))
        }
        DataType::Date32 => {
            let column = column.as_primitive::<Date32Type>();
            let text = |days| Some(json!(Date32Type::to_naive_date_opt(days)?.to_string()));
            Some((text(min(column)?)?, text(max(column)?)?))
        }
        _ => None,
    }
}

fn delta_log(folder: &Path, name: &str, files: &[(Schema, DataFile)]) -> Result<()> {
    let (schema, _) = files.first().context("no files")?;
    let fields: Vec<Value> = schema
        .fields()
        .iter()
        .map(|field| Ok(json!({ "name": field.name(), "type": delta_type(field.data_type())?, "nullable": true, "metadata": {} })))
        .collect::<Result<_>>()?;
    let schema = json!({ "type": "struct", "fields": fields }).to_string();
    let mut lines = vec![
        json!({ "commitInfo": { "timestamp": 0, "operation": "CREATE TABLE", "engineInfo": "tpch-tables" } }),
        json!({ "protocol": { "minReaderVersion": 1, "minWriterVersion": 2 } }),
        json!({ "metaData": {
            "id": uuid::Uuid::new_v4().to_string(),
            "name": name,
            "format": { "provider": "parquet", "options": {} },
            "schemaString": schema,
            "partitionColumns": [],
            "configuration": {},
            "createdTime": 0,
        } }),
    ];
    lines.extend(files.iter().map(|(_, file)| {
        json!({ "add": {
            "path": file.name,
            "partitionValues": {},
            "size": file.bytes,
            "modificationTime": 0,
            "dataChange": true,
            "stats": file.stats.to_string(),
        } })
    }));
    let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
    let log = folder.join("_delta_log");
    std::fs::create_dir(&log)?;
    std::fs::write(log.join("00000000000000000000.json"), text)?;
    Ok(())
}

fn delta_type(data_type: &DataType) -> Result<String> {
    Ok(match data_type {
        DataType::Int32 => "integer".to_owned(),
        DataType::Int64 => "long".to_owned(),
        DataType::Date32 => "date".to_owned(),
        DataType::Utf8 | DataType::Utf8View => "string".to_owned(),
        DataType::Decimal128(precision, scale) => format!("decimal({precision},{scale})"),
        other => bail!("no Delta type for {other}"),
    })
}
