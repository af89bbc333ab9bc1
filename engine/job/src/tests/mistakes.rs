//! For each mistake: where, which code, which words.

use lake_proto::{ErrorClass, Fault};

use super::*;

/// `text` with `[job]`, `[warehouse]` before it: its first line is line 5.
fn job(text: &str) -> String {
    format!("[job]\nname = \"j\"\n[warehouse]\nroot = \"/lake\"\n{text}")
}

fn lines(errors: &Errors) -> Vec<String> {
    errors.list().iter().map(ToString::to_string).collect()
}

/// Asserts that exactly one error is reported, with these beginnings and words.
#[track_caller]
fn assert_one(text: &str, beginning: &str, words: &str) {
    let errors = read(text).expect_err(text);
    let lines = lines(&errors);
    assert_eq!(lines.len(), 1, "{lines:#?}");
    assert!(lines[0].starts_with(beginning), "expected {beginning}\nfound    {}", lines[0]);
    assert!(lines[0].contains(words), "expected {words}\nfound    {}", lines[0]);
    assert_eq!(errors.class(), ErrorClass::InvalidJob);
}

const SOURCE: &str = "[[source]]\nname = \"rows\"\nformat = \"csv\"\npath = \"rows/\"\n";

/// A job with one good source and a table that has these keys; its first key is in line 10.
fn table(keys: &str) -> String {
    job(&format!("{SOURCE}[[table]]\n{keys}"))
}

/// A job with one source that has these keys; its first key is in line 6.
fn source(keys: &str) -> String {
    job(&format!(
        "[[source]]\nname = \"rows\"\n{keys}\n[[table]]\nname = \"a.b\"\nmode = \"append\"\nfrom = \"rows\"\n"
    ))
}

#[test]
fn syntax() {
    assert_one("[job\nname = 1", "job.toml:1:", "error[toml-syntax]");
    assert_one(&job("[[table]]\nname = \"a\nmode = \"append\"\n"), "job.toml:6:", "error[toml-syntax]");
    assert_one(&job("[job]\n"), "job.toml:5:", "error[toml-syntax]");
    assert_one(&job("x = 99999999999999999999\n"), "job.toml:5:5: error[invalid-value]", "does not fit 64 bits");
}

#[test]
fn keys_and_types() {
    let good = "name = \"a.b\"\nfrom = \"rows\"\nmode = \"append\"\n";
    for (text, beginning, words) in [
        (
            table(&format!("{good}expct = []\n")),
            "job.toml:13:1: error[unknown-key]: table.expct: unknown key 'expct'",
            "; did you mean 'expect'?",
        ),
        (table(&format!("{good}zzz = 1\n")), "job.toml:13:1: error[unknown-key]: table.zzz", "expected one of: audit"),
        (job("[sorce]\n"), "job.toml:5:2: error[unknown-key]: sorce", "did you mean 'source'?"),
        (
            source("format = \"csv\"\npath = \"x\"\ndelimiter = \";\""),
            "job.toml:9:1: error[unknown-key]",
            "csv = { delimiter",
        ),
        (
            "[job]\nname = \"j\"\n".into(),
            "job.toml:1:1: error[missing-key]: warehouse",
            "section [warehouse] is missing",
        ),
        (
            table("name = \"a.b\"\nfrom = \"rows\"\n"),
            "job.toml:9:1: error[missing-key]: table.mode",
            "'mode' is missing",
        ),
        (
            table(&good.replace("\"append\"", "3")),
            "job.toml:12:8: error[invalid-value]: table.mode",
            "found an integer",
        ),
        (
            table(&good.replace("append", "apend")),
            "job.toml:12:8: error[invalid-value]: table.mode: expected one of append, overwrite",
            "found 'apend'; did you mean 'append'?",
        ),
        (
            table(&format!("{good}audit = \"yes\"\n")),
            "job.toml:13:9: error[wrong-type]: table.audit",
            "expected true or false, found a text",
        ),
        (
            table(&format!("{good}partition_by = \"x\"\n")),
            "job.toml:13:16: error[wrong-type]: table.partition_by",
            "expected a list, found a text",
        ),
        (
            table(&format!("{good}partition_by = [\"x\", 1]\n")),
            "job.toml:13:22: error[wrong-type]: table.partition_by",
            "expected a text, found an integer",
        ),
        (
            job("[connection.x]\nkind = \"mysql\"\nurl = \"mysql://x\"\n"),
            "job.toml:6:8: error[invalid-value]: connection.x.kind",
            "expected one of postgres, found 'mysql'",
        ),
        (
            job("[connection.x]\nkind = \"postgres\"\nurl = 5\n"),
            "job.toml:7:7: error[wrong-type]: connection.x.url",
            "expected a text or { env = ... } or { file = ... }, found an integer",
        ),
        (job("[connection.x]\nkind = \"postgres\"\nurl = { envv = \"X\" }\n"), "job.toml:7:", "connection.x.url"),
        (
            "[job]\nname = \"j\"\nmax_attempts = 0\n[warehouse]\nroot = \"/x\"\n".into(),
            "job.toml:3:16: error[invalid-value]",
            "expected 1 to 100, found 0",
        ),
        (
            "[job]\nname = \"j\"\nversion = 2\n[warehouse]\nroot = \"/x\"\n".into(),
            "job.toml:3:11: error[invalid-value]: job.version",
            "expected 1, found 2",
        ),
    ] {
        if words == "connection.x.url" {
            assert!(read(&text).unwrap_err().list().iter().all(|error| error.position.line == 7));
            continue;
        }
        assert_one(&text, beginning, words);
    }
}

#[test]
fn job_section() {
    let with = |line: &str| {
        format!(
            "[job]\nname = \"j\"\n{line}\n[warehouse]\nroot = \"/x\"\n[[table]]\nname = \"a\"\nmode = \"append\"\nsql = \"SELECT 1\"\n"
        )
    };
    assert!(read(&with("")).is_ok());
    assert_one(&with("timeout = \"1 hour\""), "job.toml:3:11: error[invalid-value]: job.timeout", "1h30m");
    assert_one(&with("timeout = \"0s\""), "job.toml:3:11: error[invalid-value]: job.timeout", "above zero");
    let found = "job.toml:3:16: error[invalid-value]: job.task_timeout";
    assert_one(&with("task_timeout = \"0s\""), found, "above zero");
    assert_one(&with("speculation = \"often\""), "job.toml:3:15: error[wrong-type]: job.speculation", "true or false");
    assert_one(&with("").replace("\"j\"", "\"a/b\""), "job.toml:2:8: error[invalid-name]: job.name", "'a/b'");
    assert_one(&with("").replace("\"/x\"", "\"gs://x\""), "job.toml:5:8: error[invalid-url]: warehouse.root", "gs://x");
    assert_one(&job(""), "job.toml:1:1: error[missing-key]: table", "at least one [[table]]");
}

#[test]
fn what_a_later_version_executes_is_refused_and_never_ignored() {
    let keys = "name = \"a.b\"\nfrom = \"rows\"\n";
    let append = "mode = \"append\"\n";
    let expect = "[[table.expect]]\nname = \"x\"\ncheck = \"a > 1\"\naction = \"quarantine\"\n";
    for (text, beginning) in [
        (
            table(&format!("{keys}mode = \"merge\"\n")),
            "job.toml:12:8: error[not-supported]: table.mode: mode = \"merge\"",
        ),
        (
            table(&format!("{keys}mode = \"scd2\"\n")),
            "job.toml:12:8: error[not-supported]: table.mode: mode = \"scd2\"",
        ),
        (table(&format!("{keys}{append}keys = [\"id\"]\n")), "job.toml:13:1: error[not-supported]: table.keys: 'keys'"),
        (
            table(&format!("{keys}{append}sequence_by = \"t\"\n")),
            "job.toml:13:1: error[not-supported]: table.sequence_by",
        ),
        (
            table(&format!("{keys}{append}delete_when = \"x\"\n")),
            "job.toml:13:1: error[not-supported]: table.delete_when",
        ),
        (
            table(&format!("{keys}{append}evolve = \"add_columns\"\n")),
            "job.toml:13:10: error[not-supported]: table.evolve",
        ),
        (
            table(&format!("{keys}{append}evolve = \"overwrite\"\n")),
            "job.toml:13:10: error[not-supported]: table.evolve",
        ),
        (table(&format!("{keys}{append}{expect}")), "job.toml:16:10: error[not-supported]: table.expect.action"),
        (
            source("format = \"csv\"\npath = \"x\"\nincremental = true"),
            "job.toml:9:1: error[not-supported]: source.incremental",
        ),
    ] {
        assert_one(&text, beginning, "is not executed by this version of lake");
    }
    assert!(read(&table(&format!("{keys}{append}evolve = \"none\"\n"))).is_ok());
    assert!(read(&source("format = \"csv\"\npath = \"x\"\nincremental = false")).is_ok());
}

#[test]
fn secrets_are_references() {
    let storage = |line: &str| {
        job(&format!(
            "[storage.\"s3://lake\"]\n{line}\n[[table]]\nname = \"a\"\nmode = \"append\"\nsql = \"SELECT 1\"\n"
        ))
    };
    for key in ["access_key_id", "secret_access_key", "session_token"] {
        let text = storage(&format!("{key} = \"hunter2\""));
        assert_one(
            &text,
            "job.toml:6:",
            &format!("error[literal-secret]: storage.\"s3://lake\".{key}: a secret must not"),
        );
        assert!(!read(&text).unwrap_err().to_string().contains("hunter2"));
        assert!(read(&storage(&format!("{key} = {{ env = \"X\" }}"))).is_ok());
    }
    let connection = |lines: &str| {
        job(&format!(
            "[connection.db]\nkind = \"postgres\"\n{lines}\n[[table]]\nname = \"a\"\nmode = \"append\"\nsql = \"SELECT 1\"\n"
        ))
    };
    for lines in [
        "url = \"postgres://u:hunter2@h/db\"",
        "url = \"postgres://u@h/db?password=hunter2\"",
        "url = \"postgres://u@h/db\"\npassword = \"hunter2\"",
    ] {
        let text = connection(lines);
        assert_one(&text, "job.toml:", "error[literal-secret]: connection.db.");
        let message = read(&text).unwrap_err().to_string();
        assert!(message.contains("password = { env = \"PGPASSWORD\" }") && !message.contains("hunter2"), "{message}");
    }
    let text = connection("url = \"host=h password=hunter2\"");
    assert_one(&text, "job.toml:7:7: error[invalid-url]", "expected postgres://");
    assert!(!read(&text).unwrap_err().to_string().contains("hunter2"));
    let through_param =
        storage("secret_access_key = \"${k}\"\n[params]\nk = { type = \"string\", default = \"hunter2\" }");
    assert_one(&through_param, "job.toml:6:", "error[literal-secret]");
    assert_one(&storage("endpoint = \"http://u:p@h\""), "job.toml:6:12: error[literal-secret]", "password");
    assert_one(&storage("endpoint = \"h:9000\""), "job.toml:6:12: error[invalid-url]", "http://host:port");
    assert_one(&storage("region = { env = \"A B\" }"), "job.toml:6:10: error[invalid-value]", "environment variable");
    assert_one(&storage("region = { file = \"x\" }"), "job.toml:6:10: error[invalid-value]", "absolute path");
    assert_one(&storage("").replace("s3://lake", "/data"), "job.toml:5:10: error[invalid-url]", "s3://bucket");
}

#[test]
fn parameters() {
    let with = |params: &str, sql: &str| {
        job(&format!("[params]\n{params}\n[[table]]\nname = \"a\"\nmode = \"append\"\nsql = \"{sql}\"\n"))
    };
    for (text, beginning, words) in [
        (
            with("ds = { type = \"date\" }", "SELECT ${ds}"),
            "job.toml:6:1: error[missing-param]: params.ds",
            "--param ds=",
        ),
        (
            with("n = { type = \"int\", default = \"x\" }", "SELECT ${n}"),
            "job.toml:6:31: error[param-type]: params.n",
            "found 'x'",
        ),
        (
            with("d = { type = \"date\", default = \"2026-02-30\" }", "SELECT 1"),
            "job.toml:6:32: error[param-type]",
            "YYYY-MM-DD",
        ),
        (
            with("ds = { type = \"int\", default = 1 }", "SELECT ${dss}"),
            "job.toml:10:15: error[unknown-param]: table.sql",
            "did you mean 'ds'?",
        ),
        (with("", "SELECT '${'"), "job.toml:10:16: error[unknown-param]: table.sql", "$${"),
        (
            with("n = { type = \"integer\" }", "SELECT ${n}"),
            "job.toml:6:14: error[invalid-value]: params.n.type",
            "did you mean 'int'?",
        ),
        (
            with("n = { type = \"int\", defalt = 1 }", "SELECT ${n}"),
            "job.toml:6:21: error[unknown-key]: params.n.defalt",
            "'default'",
        ),
        (with("\"a b\" = { type = \"int\", default = 1 }", "SELECT 1"), "job.toml:6:1: error[invalid-name]", "a b"),
        (
            with("n = { type = \"string\", default = \"${m}\" }", "SELECT 1"),
            "job.toml:6:34: error[param-type]",
            "another",
        ),
    ] {
        assert_one(&text, beginning, words);
    }
    let mut options = options();
    options.params = vec![("dss".into(), "1".into()), ("n".into(), "x".into())];
    let errors =
        read_with(&with("n = { type = \"int\" }\nds = { type = \"int\", default = 1 }", "SELECT ${n}"), &options)
            .unwrap_err();
    assert_eq!(
        lines(&errors),
        [
            "--param dss: error[unknown-param]: the job has no parameter 'dss', only ds, n; did you mean 'ds'?",
            "--param n: error[param-type]: params.n: expected an integer of 64 bits, found 'x'",
        ]
    );
}

#[test]
fn overrides() {
    let text = table("name = \"a.b\"\nfrom = \"rows\"\nmode = \"append\"\n");
    for (key, value, words) in [
        (
            "warehouse.rot",
            "/x",
            "--conf warehouse.rot: error[unknown-key]: warehouse.rot: unknown key 'rot'; did you mean",
        ),
        (
            "job.max_attempts",
            "many",
            "--conf job.max_attempts: error[wrong-type]: job.max_attempts: expected an integer",
        ),
        (
            "table.\"a.x\".mode",
            "append",
            "--conf table.\"a.x\".mode: error[override]: no entry of the list is named 'a.x'",
        ),
        ("a..b", "1", "--conf a..b: error[override]: expected a dotted key"),
        ("job.name.x", "1", "--conf job.name.x: error[override]: 'x' is looked for inside a text"),
        ("table.\"a.b\".partition_by", "[1", "--conf table.\"a.b\".partition_by: error[override]: not a TOML value"),
    ] {
        let mut options = options();
        options.overrides = vec![(key.into(), value.into())];
        let errors = read_with(&text, &options).unwrap_err();
        assert!(errors.to_string().starts_with(words), "{errors}");
    }
}

#[test]
fn sources() {
    let files = "format = \"csv\"\npath = \"x\"\n";
    for (text, beginning, words) in [
        (source("path = \"x\""), "job.toml:5:1: error[missing-key]: source.format", "kind files needs it"),
        (source("format = \"csv\""), "job.toml:5:1: error[missing-key]: source.path", "kind files needs it"),
        (
            source("kind = \"postgres\"\ntable = \"t\""),
            "job.toml:5:1: error[missing-key]: source.connection",
            "postgres",
        ),
        (source(&format!("{files}partitions = 3")), "job.toml:9:1: error[key-combination]: source.partitions", "files"),
        (
            source("connection = \"crm\"\ntable = \"t\""),
            "job.toml:7:14: error[unknown-connection]: source.connection",
            "crm",
        ),
        (
            source("format = \"avro\"\npath = \"x\"\nmode = \"drop\""),
            "job.toml:9:1: error[key-combination]: source.mode",
            "csv and json",
        ),
        (
            source("format = \"json\"\npath = \"x\"\ncsv = { header = true }"),
            "job.toml:9:1: error[key-combination]: source.csv",
            "csv",
        ),
        (
            source(&format!("{files}csv = {{ delimiter = \"ab\" }}")),
            "job.toml:9:21: error[invalid-value]: source.csv.delimiter",
            "one ASCII",
        ),
        (
            source(&format!("{files}csv = {{ delimiter = '\"' }}")),
            "job.toml:9:",
            "'quote' and 'delimiter' are the same",
        ),
        (
            source(&format!("{files}schema = {{ id = \"biginteger\" }}")),
            "job.toml:9:17: error[invalid-value]: source.schema.id",
            "'biginteger'",
        ),
        (
            source(&format!("{files}schema = {{ id = \"int\", ID = \"int\" }}")),
            "job.toml:9:24: error[duplicate-name]",
            "declared twice",
        ),
        (
            source(&format!("{files}schema = {{ _rescued = \"string\" }}")),
            "job.toml:9:12: error[invalid-name]",
            "permissive",
        ),
        (
            source(&format!("{files}schema = {{}}")),
            "job.toml:9:10: error[invalid-value]: source.schema",
            "at least one column",
        ),
        (source("format = \"csv\"\npath = \"hdfs://x/y\""), "job.toml:8:8: error[invalid-url]: source.path", "hdfs"),
    ] {
        assert_one(&text, beginning, words);
    }
    let postgres = |keys: &str| {
        source(&format!("connection = \"db\"\n{keys}\n[connection.db]\nkind = \"postgres\"\nurl = {{ env = \"X\" }}"))
    };
    assert!(read(&postgres("table = \"t\"")).is_ok());
    for (text, beginning, words) in [
        (
            postgres(""),
            "job.toml:5:1: error[key-combination]: source",
            "exactly one of 'table' and 'query', found none",
        ),
        (postgres("table = \"t\"\nquery = \"SELECT 1\""), "job.toml:5:1: error[key-combination]: source", "found both"),
        (postgres("table = \"t\"\npath = \"x\""), "job.toml:9:1: error[key-combination]: source.path", "postgres"),
        (postgres("query = \"DROP TABLE t\""), "job.toml:8:10: error[sql-statement]: source.query", "found DROP"),
        (
            postgres("query = \"SELECT 1\"\npartitions = 2"),
            "job.toml:9:14: error[key-combination]: source.partitions",
            "partition_by",
        ),
        (
            postgres("table = \"t\"\npartitions = 0"),
            "job.toml:9:14: error[invalid-value]: source.partitions",
            "1 to 10000",
        ),
    ] {
        assert_one(&text, beginning, words);
    }
}

#[test]
fn tables() {
    let good = "name = \"a.b\"\nfrom = \"rows\"\nmode = \"append\"\n";
    let expect = |keys: &str| table(&format!("{good}[[table.expect]]\n{keys}\n"));
    for (text, beginning, words) in [
        (table(&good.replace("a.b", "a-b")), "job.toml:10:8: error[invalid-name]: table.name", "'a-b'"),
        (table("name = \"a.b\"\nmode = \"append\"\n"), "job.toml:9:1: error[key-combination]: table", "found none"),
        (
            table(&format!("{good}sql = \"SELECT 1\"\n")),
            "job.toml:13:1: error[key-combination]: table",
            "found from and sql",
        ),
        (
            table(&good.replace("append", "replace_where")),
            "job.toml:12:8: error[missing-key]: table.replace_where",
            "needs",
        ),
        (
            table(&format!("{good}replace_where = \"x = 1\"\n")),
            "job.toml:13:1: error[key-combination]",
            "replace_where",
        ),
        (table(&format!("{good}partition_by = [\"x\", \"X\"]\n")), "job.toml:13:22: error[duplicate-name]", "twice"),
        (table(&format!("{good}partition_by = [\"\"]\n")), "job.toml:13:17: error[invalid-name]", "column name"),
        (table(&format!("{good}target_file_size = \"big\"\n")), "job.toml:13:20: error[invalid-value]", "64MiB"),
        (table(&format!("{good}target_file_size = \"5\"\n")), "job.toml:13:20: error[invalid-value]", "1KiB to 64GiB"),
        (table(&format!("{good}path = \"s3:///x\"\n")), "job.toml:13:8: error[invalid-url]: table.path", "s3://bucket"),
        (table(&format!("{good}path = \"x/*\"\n")), "job.toml:13:8: error[invalid-url]: table.path", "pattern"),
        (
            expect("name = \"a b\"\ncheck = \"x\"\naction = \"warn\""),
            "job.toml:14:8: error[invalid-name]: table.expect.name",
            "a b",
        ),
        (
            expect("name = \"a\"\ncheck = \"x >\"\naction = \"warn\""),
            "job.toml:15:",
            "error[sql-syntax]: table.expect.check",
        ),
        (
            expect(
                "name = \"a\"\ncheck = \"x\"\naction = \"warn\"\n[[table.expect]]\nname = \"A\"\ncheck = \"x\"\naction = \"fail\"",
            ),
            "job.toml:18:8: error[duplicate-name]: table.expect.name",
            "another expectation",
        ),
        (
            table(&good.replace("append\"", "replace_where\"\nreplace_where = \"x = )\"")),
            "job.toml:13:",
            "error[sql-syntax]: table.replace_where",
        ),
    ] {
        assert_one(&text, beginning, words);
    }
}

#[test]
fn sql() {
    let sql = |text: &str| table(&format!("name = \"a.b\"\nmode = \"append\"\n{text}\n"));
    for (text, beginning, words) in [
        (sql("sql = \"SELECT * FORM rows\""), "job.toml:12:", "error[sql-syntax]: table.sql"),
        (sql("sql = '''\nSELECT *\n  FORM rows'''"), "job.toml:14:3: error[sql-syntax]: table.sql", "FORM"),
        (
            sql("sql = \"SELECT * FROM row\""),
            "job.toml:12:22: error[unknown-table]: table.sql: 'row'",
            "did you mean 'rows'?",
        ),
        (sql("sql = \"DELETE FROM rows\""), "job.toml:12:8: error[sql-statement]: table.sql", "found DELETE"),
        (sql("sql = \"SELECT 1; SELECT 2\""), "job.toml:12:18: error[sql-statement]: table.sql", "another one"),
        (sql("sql = \"SELECT * FROM a.b.c.d\""), "job.toml:12:22: error[invalid-name]: table.sql", "'a.b.c.d'"),
        (sql("sql = 'SELECT * FROM \"../x\".y'"), "job.toml:12:22: error[invalid-name]: table.sql", "'../x.y'"),
        (sql("sql = \"SELECT * FROM a.B\""), "job.toml:12:22: error[cycle]: table.sql", "table a.b reads itself"),
        (
            sql("sql_file = \"none.sql\""),
            "job.toml:12:12: error[sql-file]: table.sql_file",
            "'none.sql' cannot be read",
        ),
        (sql("sql_file = \"sql/typo.sql\""), "sql/typo.sql:2:3: error[sql-syntax]: table.sql_file", "FORM"),
        (sql("sql_file = \"sql/broken.sql\""), "sql/broken.sql:3:13: error[unknown-param]: table.sql_file", "'dz'"),
        (sql("from = \"b\""), "job.toml:12:8: error[unknown-table]: table.from", "did you mean 'a.b'?"),
        (sql("from = \"x y\""), "job.toml:12:8: error[invalid-name]: table.from", "'x y'"),
    ] {
        assert_one(&text, beginning, words);
    }
}

#[test]
fn names_and_locations() {
    let other = |keys: &str| {
        table(&format!(
            "name = \"a.b\"\nfrom = \"rows\"\nmode = \"append\"\n[[table]]\nfrom = \"rows\"\nmode = \"append\"\n{keys}\n"
        ))
    };
    for (text, beginning, words) in [
        (other("name = \"A.B\""), "job.toml:16:8: error[duplicate-name]: table.name", "name of the table in line 10"),
        (other("name = \"ROWS\""), "job.toml:16:8: error[duplicate-name]: table.name", "name of the source in line 6"),
        (
            other("name = \"c\"\npath = \"/lake/a/b/\""),
            "job.toml:17:8: error[location-overlap]",
            "the location of table a.b",
        ),
        (other("name = \"c\"\npath = \"/lake/a/b/c\""), "job.toml:17:8: error[location-overlap]", "inside table a.b"),
        (other("name = \"a\""), "job.toml:10:8: error[location-overlap]", "inside table a, file:///lake/a"),
    ] {
        assert_one(&text, beginning, words);
    }
    assert!(read(&other("name = \"a.b2\"")).is_ok());
    let twice = table("name = \"a.b\"\nfrom = \"rows\"\nmode = \"append\"\n") + SOURCE;
    assert_one(&twice, "job.toml:14:8: error[duplicate-name]: source.name", "name of the source in line 6");
}

#[test]
fn columns_with_statistics_must_be_columns_where_these_are_declared() {
    let job = |schema: &str, keys: &str, columns: &str| {
        job(&format!(
            "[[source]]\nname = \"rows\"\nformat = \"csv\"\npath = \"rows/\"\n{schema}\n\
             [[table]]\nname = \"a.b\"\nmode = \"append\"\nfrom = \"Rows\"\n{keys}\n\
             properties = {{ \"delta.dataSkippingStatsColumns\" = \"{columns}\" }}\n"
        ))
    };
    let schema = "schema = { id = \"bigint\", \"b c\" = \"string\" }";
    for (schema, keys, columns) in [
        (schema, "", "id, `b c`,_rescued"),
        (schema, "audit = true", "_run_id,id"),
        // Inferred: known when the table is planned.
        ("", "", "nothing"),
    ] {
        assert!(read(&job(schema, keys, columns)).is_ok(), "{columns}");
    }
    for (schema, columns, missing) in [
        (schema.to_owned(), "id,idd", "'idd'; its columns are id, b c, _rescued"),
        (format!("{schema}\nmode = \"drop\""), "_rescued", "'_rescued'; its columns are id, b c"),
        (schema.to_owned(), "_run_id", "'_run_id'"),
        (schema.to_owned(), "ID", "'ID'"),
    ] {
        let line = 15 + schema.lines().count() - 1;
        let beginning = format!(
            "job.toml:{line}:51: error[invalid-value]: table.properties.\"delta.dataSkippingStatsColumns\": the table has"
        );
        assert_one(&job(&schema, "", columns), &beginning, missing);
    }
}

#[test]
fn properties_that_nobody_would_honour_are_refused() {
    let with = |entry: &str| {
        table(&format!("name = \"a.b\"\nfrom = \"rows\"\nmode = \"append\"\n[table.properties]\n{entry}\n"))
    };
    for entry in [
        "\"delta.appendOnly\" = true",
        "\"delta.appendOnly\" = \"false\"",
        "\"delta.checkpointInterval\" = 20",
        "\"delta.dataSkippingNumIndexedCols\" = -1",
        "\"delta.dataSkippingStatsColumns\" = \"a, `b c`\"",
        "\"delta.enableDeletionVectors\" = true",
        "\"delta.enableChangeDataFeed\" = true",
        "\"delta.deletedFileRetentionDuration\" = \"interval 1 week\"",
        "\"delta.setTransactionRetentionDuration\" = \"interval 30 days\"",
        "\"delta.parquet.compression.codec\" = \"zstd\"",
        "\"delta.constraints.positive\" = \"a > 0\"",
        "\"owner\" = \"team a\"",
        "\"my.delta.appendOnly\" = 3",
    ] {
        assert!(read(&with(entry)).is_ok(), "{entry}");
    }
    for (entry, beginning, words) in [
        (
            "\"delta.apendOnly\" = true",
            "job.toml:14:1: error[unknown-key]: table.properties.\"delta.apendOnly\": Delta has no property",
            "did you mean 'delta.appendOnly'?",
        ),
        ("\"DELTA.appendOnly\" = true", "job.toml:14:1: error[unknown-key]", "did you mean 'delta.appendOnly'?"),
        (
            "\"delta.appendOnly\" = \"yes\"",
            "job.toml:14:22: error[invalid-value]",
            "expected true or false, found 'yes'",
        ),
        ("\"delta.checkpointInterval\" = 0", "job.toml:14:30: error[invalid-value]", "above zero, found '0'"),
        ("\"delta.dataSkippingNumIndexedCols\" = -2", "job.toml:14:38: error[invalid-value]", "-1 for all"),
        ("\"delta.dataSkippingStatsColumns\" = \"a,,b\"", "job.toml:14:36: error[invalid-value]", "commas"),
        ("\"delta.logRetentionDuration\" = \"30 days\"", "job.toml:14:32: error[invalid-value]", "interval 30 days"),
        (
            "\"delta.setTransactionRetentionDuration\" = \"interval 29 days\"",
            "job.toml:14:43: error[invalid-value]",
            "no run is committed twice",
        ),
        ("\"delta.parquet.compression.codec\" = \"brotli\"", "job.toml:14:37: error[invalid-value]", "zstd"),
        ("\"delta.targetFileSize\" = \"1GB\"", "job.toml:14:1: error[not-supported]", "target_file_size"),
        ("\"delta.minReaderVersion\" = 3", "job.toml:14:1: error[not-supported]", "the protocol follows"),
        ("\"delta.feature.rowTracking\" = \"supported\"", "job.toml:14:1: error[not-supported]", "protocol"),
        ("\"delta.columnMapping.mode\" = \"name\"", "job.toml:14:1: error[not-supported]", "column mapping"),
        ("\"delta.enableRowTracking\" = true", "job.toml:14:1: error[not-supported]", "not honoured"),
        ("\"delta.constraints.a b\" = \"a > 0\"", "job.toml:14:1: error[invalid-name]", "'a b'"),
        ("\"delta.constraints.c\" = \"a > \"", "job.toml:14:", "error[sql-syntax]"),
        ("\"delta.constraints.c\" = true", "job.toml:14:25: error[wrong-type]", "a condition"),
    ] {
        assert_one(&with(entry), beginning, words);
    }
}

#[test]
fn circles_are_shown_each_once() {
    let text = |reads: &[(&str, &str)]| {
        let tables = reads
            .iter()
            .map(|(name, from)| format!("[[table]]\nname = \"{name}\"\nmode = \"append\"\nfrom = \"{from}\"\n"));
        job(&tables.collect::<String>())
    };
    let circle = text(&[("s.d", "s.c"), ("s.a", "s.b"), ("s.b", "s.c"), ("s.c", "s.A")]);
    assert_one(&circle, "job.toml:12:8: error[cycle]: table.from", "in a circle: s.a -> s.b -> s.c -> s.a");
    let two = read(&text(&[("s.a", "s.b"), ("s.b", "s.a"), ("t.a", "t.b"), ("t.b", "t.a")])).unwrap_err();
    assert_eq!(two.list().len(), 2, "{two}");
}

#[test]
fn independent_mistakes_are_told_at_once() {
    let text = "[job]\nname = \"a b\"\ntimeout = \"x\"\n[warehouse]\nroot = \"/l\"\n\
                [[source]]\nname = \"r\"\nformat = \"csv\"\npath = \"r/\"\nmoed = \"drop\"\n\
                [[table]]\nname = \"x.y\"\nmode = \"merge\"\nsql = \"SELECT * FROM r, nobody\"\n\
                [[table]]\nname = \"x.z\"\nmode = \"append\"\nsql = \"SELEC 1\"\n\
                [[table]]\nname = \"x.w\"\nmode = 5\nfrom = \"x.y\"\n";
    let errors = read(text).unwrap_err();
    let found: Vec<(u32, &str)> = errors.list().iter().map(|e| (e.position.line, e.code.name())).collect();
    let expected = [
        (2, "invalid-name"),
        (3, "invalid-value"),
        (10, "unknown-key"),
        (13, "not-supported"),
        (14, "unknown-table"),
        (18, "sql-syntax"),
        (21, "invalid-value"),
    ];
    assert_eq!(found, expected, "{errors}");
}

#[test]
fn selection() {
    let with = |only: &[&str], from: Option<&str>| {
        let mut options = options();
        options.only = only.iter().map(|name| (*name).to_owned()).collect();
        options.from = from.map(str::to_owned);
        lines(&read_with(EXAMPLE, &options).unwrap_err()).join("\n")
    };
    assert_eq!(
        with(&["silver.order"], None),
        "--only silver.order: error[selection]: the job has no table 'silver.order'; did you mean 'silver.orders'?"
    );
    assert!(with(&[], Some("x")).starts_with("--from x: error[selection]: the job has no table 'x'"));
    assert!(with(&["silver.orders"], Some("silver.orders")).contains("exclude each other"));
}

#[test]
fn files_are_read_from_disk_within_limits() {
    let folder = std::env::temp_dir().join(format!("lake-job-{}", std::process::id()));
    std::fs::create_dir_all(folder.join("sql")).unwrap();
    let options = LoadOptions::new(options().today, &folder);
    let write = |name: &str, bytes: &[u8]| std::fs::write(folder.join(name), bytes).unwrap();

    let fault = Fault::from(load(Path::new("none.toml"), &options).unwrap_err());
    assert_eq!((fault.class, fault.code.as_str()), (ErrorClass::NotFound, "job-file"));
    assert_eq!(fault.message, "none.toml: there is no such file");

    write("big.toml", &vec![b'#'; 10 << 20]);
    let errors = load(Path::new("big.toml"), &options).unwrap_err();
    assert_eq!((errors.class(), errors.code()), (ErrorClass::InvalidJob, "too-large"));

    write("latin.toml", b"[job]\nname = \"\xe9\"\n");
    let errors = load(Path::new("latin.toml"), &options).unwrap_err();
    assert!(errors.to_string().starts_with("latin.toml:2:9: error[not-utf8]"), "{errors}");
    assert_eq!(load(Path::new("sql"), &options).unwrap_err().class(), ErrorClass::InvalidJob);

    write("job.toml", EXAMPLE.as_bytes());
    let errors = load(Path::new("job.toml"), &options).unwrap_err();
    assert_eq!(lines(&errors).len(), 1, "{errors}");
    assert_eq!(errors.code(), "sql-file");
    write("sql/silver.sql", "\u{feff}SELECT * FROM bronze.customers".as_bytes());
    assert_eq!(load(Path::new("job.toml"), &options).unwrap().tables.len(), 4);
    assert_eq!(load(&folder.join("job.toml"), &options).unwrap().tables.len(), 4);
    write("sql/silver.sql", b"SELECT\n'\xff'");
    assert!(load(Path::new("job.toml"), &options).unwrap_err().to_string().contains("not UTF-8 in line 2"));
    std::fs::remove_dir_all(folder).unwrap();
}

#[test]
fn a_large_job_of_mistakes_is_refused_quickly() {
    let mut text = job("");
    while text.len() < 1_000_000 {
        let number = text.len();
        text.push_str(&format!("[[table]]\nname = \"t.x{number}\"\nmode = \"append\"\nfrom = \"nobody{number}\"\n"));
    }
    let errors = read(&text).unwrap_err();
    assert_eq!(errors.list().len(), errors::MAX_ERRORS);
    assert!(errors.omitted() > 1000);
}
