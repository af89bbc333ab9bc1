//! Every example in local and in cluster mode, on local disk and on S3, with equal results; and the verbs of
//! `lake-submit`.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;

use anyhow::{Context, Result};
use datafusion::prelude::{ParquetReadOptions, SessionConfig, SessionContext};
use lake_tests::cluster::Cluster;
use lake_tests::fixture::{Workspace, example, project, tpch};
use lake_tests::oracle::Oracle;
use lake_tests::postgres::Postgres;
use lake_tests::process::binary;
use lake_tests::s3::S3;
use lake_tests::submit::{Run, Submit};
use parquet::arrow::ArrowWriter;
use serde_json::Value;

const RETAIL: [&str; 6] =
    ["bronze.orders", "silver.orders", "silver.products", "silver.stores", "gold.daily_revenue", "gold.top_products"];

const CUSTOMERS: [&str; 6] = [
    "bronze.customers",
    "bronze.usage",
    "silver.customers_cleansed",
    "silver.usage",
    "gold.customers_by_country",
    "gold.total_usage_stats",
];

fn file_url(path: &Path) -> String {
    format!("file://{}", path.display())
}

fn table(root: &str, name: &str) -> String {
    format!("{root}/{}", name.replace('.', "/"))
}

fn assert_same(oracle: &Oracle, one: &str, two: &str, tables: &[&str]) -> Result<()> {
    for name in tables {
        let of = |root: &str| format!("delta:{}", table(root, name));
        oracle.same(&of(one), &of(two)).with_context(|| format!("table {name}"))?;
    }
    Ok(())
}

#[test]
fn retail_gives_the_same_tables_in_every_deploy_mode() -> Result<()> {
    let workspace = Workspace::new()?;
    let job = example("retail")?;
    let root = |mode: &str| file_url(&workspace.path().join(mode));
    Submit::local().warehouse(&root("local")).arg(&job).run()?.succeeded()?;
    let cluster = Cluster::start()?;
    cluster.submit().warehouse(&root("cluster")).arg(&job).run()?.succeeded()?;
    let client = cluster.submit().args(["--deploy-mode", "client"]);
    client.warehouse(&root("client")).arg(&job).run()?.succeeded()?;
    assert_same(&Oracle::new(), &root("local"), &root("cluster"), &RETAIL)?;
    assert_same(&Oracle::new(), &root("local"), &root("client"), &RETAIL)
}

/// What the example promises, computed by hand from its input.
#[test]
fn retail_counts_what_its_files_hold() -> Result<()> {
    let workspace = Workspace::new()?;
    let root = file_url(&workspace.path().join("lake"));
    let run = Submit::local().warehouse(&root).args(["--output", "json"]).arg(example("retail")?).run()?.succeeded()?;
    let mut delivered = 0;
    let mut best: BTreeMap<i64, (String, bool)> = BTreeMap::new();
    for name in ["2026-09-a.csv", "2026-09-b.csv"] {
        let text = std::fs::read_to_string(project()?.join("examples/retail/data/orders").join(name))?;
        for line in text.lines().skip(1) {
            delivered += 1;
            let fields: Vec<&str> = line.split(',').collect();
            let [id, at, _, _, _, quantity, price, _] = fields.as_slice() else { continue };
            let Ok(id) = id.parse::<i64>() else { continue };
            let at = if at.starts_with("2026-09-") { (*at).to_owned() } else { String::new() };
            let good = !at.is_empty()
                && quantity.parse::<i32>().is_ok_and(|quantity| quantity > 0)
                && price.parse::<f64>().is_ok_and(|price| price > 0.0);
            let known = best.entry(id).or_insert_with(|| (at.clone(), good));
            if at > known.0 {
                *known = (at, good);
            }
        }
    }
    let orders = best.values().filter(|(_, good)| *good).count();
    let oracle = Oracle::new();
    assert_eq!(oracle.rows(&table(&root, "bronze.orders"))?.len(), delivered);
    assert_eq!(oracle.rows(&table(&root, "silver.orders"))?.len(), orders);

    let document = run.json()?;
    let steps = document.get("steps").and_then(Value::as_array).context("no steps")?;
    assert_eq!(steps.len(), RETAIL.len());
    let silver = steps.iter().find(|step| step.get("table").is_some_and(|name| name == "silver.orders"));
    let silver = silver.context("no silver.orders")?;
    assert_eq!(silver.get("rows_out").and_then(Value::as_u64), u64::try_from(orders).ok());
    let violations = |name: &str| -> Option<u64> {
        let all = silver.get("expectations")?.as_array()?;
        all.iter().find(|result| result.get("name").is_some_and(|n| n == name))?.get("violations")?.as_u64()
    };
    assert_eq!(violations("has_order_id"), Some(1));
    assert!(violations("quantity_is_positive") > Some(0) && violations("has_customer") > Some(0));
    Ok(())
}

#[test]
fn retail_run_twice_holds_every_row_once() -> Result<()> {
    let workspace = Workspace::new()?;
    let root = file_url(&workspace.path().join("lake"));
    let submit = Submit::local().warehouse(&root).arg(example("retail")?);
    submit.run()?.succeeded()?;
    let first = Oracle::new().rows(&table(&root, "silver.orders"))?;
    submit.run()?.succeeded()?;
    assert_eq!(Oracle::new().rows(&table(&root, "silver.orders"))?, first);
    Ok(())
}

#[test]
fn retail_gives_the_same_tables_on_s3() -> Result<()> {
    let store = S3::start(&["lakehouse"])?;
    let environment = store.environment();
    let job = example("retail")?;
    let (local, clustered) = ("s3://lakehouse/local", "s3://lakehouse/cluster");
    Submit::local().envs(&environment).warehouse(local).arg(&job).run()?.succeeded()?;
    let cluster = Cluster::builder().envs(&environment).start(2)?;
    cluster.submit().warehouse(clustered).arg(&job).run()?.succeeded()?;
    let oracle = Oracle::with(&environment);
    assert_same(&oracle, local, clustered, &RETAIL)?;
    // Hadoop's scheme means the same store.
    let run = cluster.submit().warehouse("s3a://lakehouse/hadoop").arg(&job).run()?.succeeded()?;
    assert!(run.stderr.contains("FINISHED"), "{run}");
    assert_same(&oracle, local, "s3://lakehouse/hadoop", &RETAIL)
}

fn crm() -> Result<Postgres> {
    let server = Postgres::start()?;
    server.script("crm", &project()?.join("examples/customers/setup.sql"))?;
    Ok(server)
}

#[test]
fn customers_gives_the_same_tables_in_local_and_cluster_mode_and_what_postgres_says() -> Result<()> {
    let server = crm()?;
    let workspace = Workspace::new()?;
    let job = example("customers")?;
    let root = |mode: &str| file_url(&workspace.path().join(mode));
    Submit::local().env("CRM_URL", &server.url()).warehouse(&root("local")).arg(&job).run()?.succeeded()?;
    let cluster = Cluster::builder().env("CRM_URL", &server.url()).start(2)?;
    cluster.submit().warehouse(&root("cluster")).arg(&job).run()?.succeeded()?;
    let oracle = Oracle::new();
    assert_same(&oracle, &root("local"), &root("cluster"), &CUSTOMERS)?;

    let count = |sql: &str| -> Result<usize> { Ok(server.psql("crm", sql)?.parse()?) };
    let rows = |name: &str| oracle.rows(&table(&root("cluster"), name));
    assert_eq!(rows("bronze.customers")?.len(), count("SELECT count(*) FROM customers")?);
    assert_eq!(rows("bronze.usage")?.len(), count("SELECT count(*) FROM usage")?);
    let latest = "SELECT DISTINCT ON (customer_id) * FROM customers ORDER BY customer_id, updated_at DESC";
    let expected = server.psql(
        "crm",
        &format!(
            "SELECT coalesce(nullif(upper(trim(country)), ''), 'unknown') AS c, count(*) FROM ({latest}) AS l \
             WHERE trim(email) LIKE '%_@_%' GROUP BY 1 ORDER BY 1"
        ),
    )?;
    let mut found: Vec<String> = rows("gold.customers_by_country")?
        .iter()
        .filter_map(|row| Some(format!("{}|{}", row.get(0)?.as_str()?, row.get(1)?.as_str()?)))
        .collect();
    found.sort();
    let mut expected: Vec<String> = expected.lines().map(str::to_owned).collect();
    expected.sort();
    assert_eq!(found, expected);
    Ok(())
}

#[test]
fn customers_run_twice_appends_to_bronze_and_counts_nobody_twice() -> Result<()> {
    let server = crm()?;
    let workspace = Workspace::new()?;
    let root = file_url(&workspace.path().join("lake"));
    let submit = Submit::local().env("CRM_URL", &server.url()).warehouse(&root).arg(example("customers")?);
    submit.run()?.succeeded()?;
    let oracle = Oracle::new();
    let first = oracle.rows(&table(&root, "gold.total_usage_stats"))?;
    let bronze = oracle.rows(&table(&root, "bronze.customers"))?.len();
    submit.run()?.succeeded()?;
    assert_eq!(oracle.rows(&table(&root, "gold.total_usage_stats"))?, first);
    assert_eq!(oracle.rows(&table(&root, "bronze.customers"))?.len(), bronze * 2);
    Ok(())
}

#[test]
fn customers_gives_the_same_tables_on_s3() -> Result<()> {
    let server = crm()?;
    let store = S3::start(&["lakehouse"])?;
    let mut environment = store.environment();
    environment.insert("CRM_URL".to_owned(), server.url());
    let job = example("customers")?;
    Submit::local().envs(&environment).warehouse("s3://lakehouse/local").arg(&job).run()?.succeeded()?;
    let cluster = Cluster::builder().envs(&environment).start(2)?;
    cluster.submit().warehouse("s3://lakehouse/cluster").arg(&job).run()?.succeeded()?;
    assert_same(&Oracle::with(&environment), "s3://lakehouse/local", "s3://lakehouse/cluster", &CUSTOMERS)
}

#[test]
fn the_22_queries_of_tpch_answer_as_datafusion_does_in_one_process() -> Result<()> {
    const SCALE: &str = "0.02";
    let workspace = Workspace::new()?;
    let folder = workspace.path();
    tpch(&folder.join("raw"), "parquet", SCALE)?;
    tokio::runtime::Runtime::new()?.block_on(expected_answers(&folder.join("raw"), &folder.join("expected")))?;
    let cluster = Cluster::start()?;
    for (mode, submit) in [("local", Submit::local()), ("cluster", cluster.submit())] {
        let root = folder.join(mode);
        tpch(&root.join("tpch"), "delta", SCALE)?;
        submit.warehouse(&file_url(&root)).arg(example("tpch")?).run()?.succeeded()?;
        for query in 1..=22 {
            let found = format!("delta:{}/gold/q{query:02}", file_url(&root));
            let expected = format!("parquet:{}/q{query:02}.parquet", folder.join("expected").display());
            Oracle::new().same(&found, &expected).with_context(|| format!("query {query} in {mode} mode"))?;
        }
    }
    Ok(())
}

/// The answers of DataFusion alone on the Parquet files, as Parquet files.
async fn expected_answers(raw: &Path, out: &Path) -> Result<()> {
    std::fs::create_dir_all(out)?;
    let context = SessionContext::new_with_config(SessionConfig::new().with_target_partitions(2));
    context.sql("CREATE SCHEMA tpch").await?.collect().await?;
    for name in ["customer", "lineitem", "nation", "orders", "part", "partsupp", "region", "supplier"] {
        let path = raw.join(name).display().to_string() + "/";
        let frame = context.read_parquet(path, ParquetReadOptions::default()).await?;
        context.register_table(format!("tpch.{name}"), frame.into_view())?;
    }
    for query in 1..=22 {
        let text = std::fs::read_to_string(project()?.join(format!("examples/tpch/sql/q{query:02}.sql")))?;
        let frame = context.sql(&text).await?;
        let schema = std::sync::Arc::new(frame.schema().as_arrow().clone());
        let mut writer = ArrowWriter::try_new(File::create(out.join(format!("q{query:02}.parquet")))?, schema, None)?;
        for batch in frame.collect().await? {
            writer.write(&batch)?;
        }
        writer.close()?;
    }
    Ok(())
}

/// The document of a run has the documented fields, in local and in cluster mode.
#[test]
fn the_json_outcome_has_its_documented_fields() -> Result<()> {
    let workspace = Workspace::new()?;
    let cluster = Cluster::start()?;
    for (mode, submit) in [("local", Submit::local()), ("cluster", cluster.submit())] {
        let root = file_url(&workspace.path().join(mode));
        let submit = submit.warehouse(&root).args(["--output", "json"]).arg(example("retail")?);
        let run = submit.run()?.succeeded()?;
        let document = run.json()?;
        for field in [
            "name",
            "state",
            "exit_code",
            "deploy_mode",
            "submission_id",
            "driver_id",
            "app_id",
            "run_number",
            "attempt",
            "elapsed_ms",
            "steps",
            "failure",
        ] {
            assert!(document.get(field).is_some(), "no {field}: {run}");
        }
        assert_eq!(document.get("state"), Some(&Value::from("FINISHED")));
        assert_eq!(document.get("deploy_mode"), Some(&Value::from(mode)));
        let steps = document.get("steps").and_then(Value::as_array).context("no steps")?;
        let names: Vec<&str> = steps.iter().filter_map(|step| step.get("table")?.as_str()).collect();
        // As in job.toml: each table stands behind those that it reads.
        assert_eq!(names, RETAIL, "{run}");
    }
    let run = Submit::local().args(["--output", "json"]).arg("/nowhere/job.toml").run()?;
    let document = run.json()?;
    assert_eq!(document.pointer("/failure/class"), Some(&Value::from("not-found")), "{run}");
    assert_eq!(document.get("exit_code"), Some(&Value::from(3)));
    Ok(())
}

#[test]
fn show_prints_a_gold_table_on_standard_output_and_progress_elsewhere() -> Result<()> {
    let workspace = Workspace::new()?;
    let root = file_url(&workspace.path().join("lake"));
    let submit = Submit::local().warehouse(&root).args(["--show", "gold.daily_revenue"]).arg(example("retail")?);
    let run = submit.run()?.succeeded()?;
    assert!(run.stdout.contains("revenue_month_to_date") && run.stdout.contains("Germany"), "{run}");
    assert!(!run.stdout.contains("FINISHED") && run.stderr.contains("retail FINISHED"), "{run}");
    // Frame, head and line below it, 20 rows, frame.
    assert_eq!(run.stdout.lines().count(), 24, "{run}");
    assert!(run.stderr.contains("gold.daily_revenue: 20 of ") && !run.stdout.contains("20 of "), "{run}");
    for name in RETAIL {
        assert!(run.stderr.contains(&format!("{name}: committed version")), "{name}: {run}");
    }
    Ok(())
}

#[test]
fn a_dry_run_shows_the_steps_and_touches_nothing() -> Result<()> {
    let workspace = Workspace::new()?;
    let lake = workspace.path().join("lake");
    let submit = Submit::local().warehouse(&file_url(&lake)).arg("--dry-run").arg(example("retail")?);
    let run = submit.run()?.succeeded()?;
    for name in RETAIL {
        assert!(run.stdout.contains(name), "{name}: {run}");
    }
    assert!(!lake.exists(), "a dry run has written");
    Ok(())
}

#[test]
fn only_and_from_select_steps() -> Result<()> {
    let workspace = Workspace::new()?;
    let root = file_url(&workspace.path().join("lake"));
    let steps = |run: &Run| -> Result<Vec<String>> {
        let document = run.json()?;
        let steps = document.get("steps").and_then(Value::as_array).cloned().unwrap_or_default();
        let mut names: Vec<String> =
            steps.iter().filter_map(|step| Some(step.get("table")?.as_str()?.to_owned())).collect();
        names.sort();
        Ok(names)
    };
    let submit = || Submit::local().warehouse(&root).args(["--output", "json"]);
    let job = example("retail")?;
    let run = submit().args(["--only", "bronze.orders,silver.stores"]).arg(&job).run()?.succeeded()?;
    assert_eq!(steps(&run)?, ["bronze.orders", "silver.stores"]);
    submit().arg(&job).run()?.succeeded()?;
    let run = submit().args(["--from", "silver.products"]).arg(&job).run()?.succeeded()?;
    assert_eq!(steps(&run)?, ["gold.top_products", "silver.products"]);
    submit().args(["--only", "silver.nothing"]).arg(&job).run()?.failed(
        "invalid-job",
        "selection",
        &["silver.nothing"],
    )?;
    Ok(())
}

#[test]
fn status_logs_and_list_tell_about_a_submission() -> Result<()> {
    let workspace = Workspace::new()?;
    let root = file_url(&workspace.path().join("lake"));
    let cluster = Cluster::start()?;
    let job = example("retail")?;
    let id = cluster.submit_detached(|submit| submit.warehouse(&root).args(["--name", "nightly"]).arg(&job))?;
    assert!(id.starts_with("driver-"), "{id}");
    let status = cluster.wait_for_state(&id, &["FINISHED", "FAILED", "ERROR"])?;
    assert_eq!(status.get("state"), Some(&Value::from("FINISHED")), "{status}");
    assert_eq!(status.get("name"), Some(&Value::from("nightly")));
    let list = cluster.submit().arg("--list").run()?.succeeded()?;
    for text in [id.as_str(), "FINISHED", "nightly", "ALIVE"] {
        assert!(list.stdout.contains(text), "{text}: {list}");
    }
    cluster.submit().args(["--logs", &id]).run()?.succeeded()?;
    // Following a log that has ended ends too.
    cluster.submit().args(["--logs", &id, "-f"]).run()?.succeeded()?;
    Ok(())
}

#[test]
fn spark_submit_does_what_airflows_operator_expects() -> Result<()> {
    let workspace = Workspace::new()?;
    let program = workspace.path().join("spark-submit");
    std::os::unix::fs::symlink(binary("lake-submit")?, &program)?;
    let cluster = Cluster::start()?;
    let master = cluster.master_url().replace("lake://", "spark://");
    let root = file_url(&workspace.path().join("lake"));
    let spark = || Submit::new().program(&program).args(["--master", &master]);
    let submit =
        spark().args(["--conf", "spark.executor.memory=1g", "--executor-memory", "1g", "--name", "arrow-spark"]);
    let submit = submit.args(["--verbose", "--deploy-mode", "cluster"]).warehouse(&root).arg(example("retail")?);
    let run = submit.arg("top=2").run()?.succeeded()?;
    let id = run.stdout.split_whitespace().find(|word| word.starts_with("driver-")).context("no driver id")?.to_owned();
    cluster.wait_for_state(&id, &["FINISHED"])?;
    let run = spark().args(["--status", &id]).run()?.succeeded()?;
    assert!(run.stdout.contains("submissionId"), "{run}");
    let line = run.stdout.lines().find(|line| line.contains("driverState")).context("no driverState")?;
    let state = line.split(" : ").nth(1).context("no value")?.replace([',', '"'], "");
    assert_eq!(state.trim(), "FINISHED");
    let places = Oracle::new().rows(&table(&root, "gold.top_products"))?;
    let places = places.iter().filter_map(|row| row.get(1)?.as_str().map(str::to_owned));
    assert!(places.into_iter().all(|place| place == "1" || place == "2"));
    Ok(())
}
