//! A pipeline as text in the manner of job.toml. Pure. Secrets are references, and stay so.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use lake_job::{
    ColumnType, ConnectionProfile, CsvOptions, FileFormat, FilesSource, ParseMode, Pipeline, PostgresSource, Relation,
    Setting, Source, SourceInput, Table, TableInput, WriteMode,
};

/// Keys whose values are never written, even if some release of ours should have let one through.
const SECRET: [&str; 4] = ["access_key_id", "secret_access_key", "session_token", "password"];
/// Keys whose values are true or false.
const FLAGS: [&str; 2] = ["allow_http", "virtual_hosted_style"];
const DEFAULT_FILE_SIZE: u64 = 128 << 20;

/// The whole job. Writing to a String cannot fail, which is why nothing here looks.
pub(crate) fn render(pipeline: &Pipeline) -> String {
    let mut text = String::new();
    let _ = writeln!(text, "[job]");
    pair(&mut text, "name", &quoted(&pipeline.name));
    pair(&mut text, "max_attempts", &pipeline.max_attempts.to_string());
    if let Some(limit) = pipeline.timeout_ms {
        pair(&mut text, "timeout", &quoted(&span(limit)));
    }
    if let Some(limit) = pipeline.task_timeout_ms {
        pair(&mut text, "task_timeout", &quoted(&span(limit)));
    }
    if pipeline.speculation {
        pair(&mut text, "speculation", "true");
    }
    if !pipeline.params.is_empty() {
        let _ = writeln!(text, "\n[params] # values of this run");
        pairs(&mut text, &pipeline.params);
    }
    let _ = writeln!(text, "\n[warehouse]");
    pair(&mut text, "root", &quoted(&without_password(&pipeline.warehouse_root)));
    for (prefix, profile) in &pipeline.storage {
        let _ = writeln!(text, "\n[storage.{}]", quoted(&without_password(prefix)));
        for (key, value) in &profile.options {
            pair(&mut text, key, &setting(key, value));
        }
    }
    for (name, profile) in &pipeline.connections {
        connection(&mut text, name, profile);
    }
    for source in &pipeline.sources {
        write_source(&mut text, source);
    }
    for table in &pipeline.tables {
        write_table(&mut text, table);
    }
    text
}

fn connection(text: &mut String, name: &str, profile: &ConnectionProfile) {
    let _ = writeln!(text, "\n[connection.{}]", key_of(name));
    match profile {
        ConnectionProfile::Postgres { url, password } => {
            pair(text, "kind", "\"postgres\"");
            pair(text, "url", &setting("url", url));
            if let Some(password) = password {
                pair(text, "password", &setting("password", password));
            }
        }
    }
}

fn write_source(text: &mut String, source: &Source) {
    let _ = writeln!(text, "\n[[source]] # {}", one_line(&source.origin.to_string()));
    pair(text, "name", &quoted(&source.name));
    match &source.input {
        SourceInput::Files(files) => write_files(text, files),
        SourceInput::Postgres(postgres) => write_postgres(text, postgres),
    }
}

fn write_files(text: &mut String, files: &FilesSource) {
    pair(text, "kind", "\"files\"");
    let format = match files.format {
        FileFormat::Csv => "csv",
        FileFormat::Json => "json",
        FileFormat::Parquet => "parquet",
        FileFormat::Avro => "avro",
    };
    pair(text, "format", &quoted(format));
    pair(text, "path", &quoted(&without_password(&files.path)));
    let mode = match files.mode {
        ParseMode::Permissive => "permissive",
        ParseMode::Drop => "drop",
        ParseMode::FailFast => "fail_fast",
    };
    pair(text, "mode", &quoted(mode));
    if let Some(columns) = &files.schema {
        let _ = writeln!(text, "schema = [");
        for column in columns {
            let (name, data_type) = (quoted(&column.name), quoted(&sql_type(column.data_type)));
            let _ = writeln!(text, "    {{ name = {name}, type = {data_type} }},");
        }
        let _ = writeln!(text, "]");
    }
    if files.csv != CsvOptions::default() {
        let _ = writeln!(text, "csv = {{ {} }}", csv(&files.csv).join(", "));
    }
}

/// What differs from the default.
fn csv(options: &CsvOptions) -> Vec<String> {
    let default = CsvOptions::default();
    let mut parts = Vec::new();
    let letter = |letter: char| quoted(&letter.to_string());
    if options.header != default.header {
        parts.push(format!("header = {}", options.header));
    }
    if options.delimiter != default.delimiter {
        parts.push(format!("delimiter = {}", letter(options.delimiter)));
    }
    if options.quote != default.quote {
        parts.push(format!("quote = {}", letter(options.quote)));
    }
    if let Some(escape) = options.escape {
        parts.push(format!("escape = {}", letter(escape)));
    }
    if let Some(null_value) = &options.null_value {
        parts.push(format!("null_value = {}", quoted(null_value)));
    }
    if options.multiline != default.multiline {
        parts.push(format!("multiline = {}", options.multiline));
    }
    if let Some(comment) = options.comment {
        parts.push(format!("comment = {}", letter(comment)));
    }
    parts
}

fn write_postgres(text: &mut String, postgres: &PostgresSource) {
    pair(text, "connection", &quoted(&postgres.connection));
    match &postgres.relation {
        Relation::Table(name) => pair(text, "table", &quoted(name)),
        Relation::Query(query) => pair(text, "query", &block(query)),
    }
    if let Some(column) = &postgres.partition_by {
        pair(text, "partition_by", &quoted(column));
    }
    pair(text, "partitions", &postgres.partitions.to_string());
}

fn write_table(text: &mut String, table: &Table) {
    let _ = writeln!(text, "\n[[table]] # {}", one_line(&table.origin.to_string()));
    pair(text, "name", &quoted(&table.name.to_string()));
    pair(text, "path", &quoted(&without_password(&table.location)));
    match &table.input {
        TableInput::From(name) => pair(text, "from", &quoted(name)),
        TableInput::Sql { text: query, .. } => pair(text, "sql", &block(query)),
    }
    match &table.mode {
        WriteMode::Append => pair(text, "mode", "\"append\""),
        WriteMode::Overwrite => pair(text, "mode", "\"overwrite\""),
        WriteMode::ReplaceWhere { predicate, .. } => {
            pair(text, "mode", "\"replace_where\"");
            pair(text, "replace_where", &quoted(predicate));
        }
    }
    if !table.partition_by.is_empty() {
        let columns: Vec<String> = table.partition_by.iter().map(|column| quoted(column)).collect();
        pair(text, "partition_by", &format!("[{}]", columns.join(", ")));
    }
    if table.audit {
        pair(text, "audit", "true");
    }
    if table.target_file_size_bytes != DEFAULT_FILE_SIZE {
        pair(text, "target_file_size", &quoted(&size(table.target_file_size_bytes)));
    }
    if !table.properties.is_empty() {
        let _ = writeln!(text, "\n  [table.properties]");
        for (key, value) in &table.properties {
            let _ = writeln!(text, "  {} = {}", key_of(key), quoted(value));
        }
    }
    for expectation in &table.expectations {
        let _ = writeln!(text, "\n  [[table.expect]]");
        let _ = writeln!(text, "  name = {}", quoted(&expectation.name));
        let _ = writeln!(text, "  check = {}", quoted(&expectation.check));
        let _ = writeln!(text, "  action = {}", quoted(expectation.action.name()));
    }
}

fn pairs(text: &mut String, pairs: &BTreeMap<String, String>) {
    for (key, value) in pairs {
        pair(text, key, &quoted(value));
    }
}

fn pair(text: &mut String, key: &str, value: &str) {
    let _ = writeln!(text, "{} = {value}", key_of(key));
}

fn setting(key: &str, value: &Setting) -> String {
    match value {
        Setting::Env(name) => format!("{{ env = {} }}", quoted(name)),
        Setting::File(path) => format!("{{ file = {} }}", quoted(path)),
        Setting::Literal(_) if SECRET.contains(&key) => "\"(not shown)\"".to_owned(),
        Setting::Literal(flag) if FLAGS.contains(&key) && matches!(flag.as_str(), "true" | "false") => flag.clone(),
        Setting::Literal(literal) => quoted(&without_password(literal)),
    }
}

/// A URL without what stands between its scheme and its host, but for the name of a user.
pub(crate) fn without_password(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return url.to_owned() };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    match authority.rsplit_once('@') {
        Some((user, host)) => {
            let name = user.split(':').next().unwrap_or_default();
            let hidden = if user.contains(':') { ":…" } else { "" };
            format!("{scheme}://{name}{hidden}@{host}{path}")
        }
        None => url.to_owned(),
    }
}

fn key_of(key: &str) -> String {
    let is_bare = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    if !key.is_empty() && key.chars().all(is_bare) { key.to_owned() } else { quoted(key) }
}

/// A comment cannot be left.
fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            '\t' => quoted.push_str("\\t"),
            '\r' => quoted.push_str("\\r"),
            control if control.is_control() => {
                let _ = write!(quoted, "\\u{:04X}", u32::from(control));
            }
            other => quoted.push(other),
        }
    }
    quoted.push('"');
    quoted
}

/// Long text as it was written.
fn block(text: &str) -> String {
    if !text.contains('\n') {
        return quoted(text);
    }
    format!("\"\"\"\n{}\n\"\"\"", text.trim_matches('\n').replace('\\', "\\\\").replace("\"\"\"", "\"\"\\\""))
}

/// Milliseconds as job.toml writes them.
fn span(ms: u64) -> String {
    if ms.is_multiple_of(60_000) {
        format!("{}m", ms / 60_000)
    } else if ms.is_multiple_of(1_000) {
        format!("{}s", ms / 1_000)
    } else {
        format!("{ms}ms")
    }
}

fn size(bytes: u64) -> String {
    for (unit, factor) in [("GiB", 1_u64 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)] {
        if bytes > 0 && bytes.is_multiple_of(factor) {
            return format!("{}{unit}", bytes / factor);
        }
    }
    format!("{bytes}b")
}

fn sql_type(data_type: ColumnType) -> String {
    match data_type {
        ColumnType::TinyInt => "tinyint".to_owned(),
        ColumnType::SmallInt => "smallint".to_owned(),
        ColumnType::Int => "int".to_owned(),
        ColumnType::BigInt => "bigint".to_owned(),
        ColumnType::Float => "float".to_owned(),
        ColumnType::Double => "double".to_owned(),
        ColumnType::Decimal { precision, scale } => format!("decimal({precision},{scale})"),
        ColumnType::String => "string".to_owned(),
        ColumnType::Boolean => "boolean".to_owned(),
        ColumnType::Date => "date".to_owned(),
        ColumnType::Timestamp => "timestamp".to_owned(),
        ColumnType::TimestampNtz => "timestamp_ntz".to_owned(),
        ColumnType::Binary => "binary".to_owned(),
    }
}

#[cfg(test)]
mod tests;
