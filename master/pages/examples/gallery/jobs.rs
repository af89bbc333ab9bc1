//! The jobs whose runs are shown.

use lake_job::{LoadOptions, Pipeline, parse};

pub(crate) const RETAIL: &str = r#"
[job]
name = "retail"
max_attempts = 3
timeout = "2h"
speculation = true

[params]
ds = { type = "date", default = "2026-11-21" }
top = { type = "int", default = 3 }

[warehouse]
root = "s3://lakehouse"

[storage."s3://lakehouse"]
endpoint = "http://store.internal:9000"
allow_http = true
access_key_id = { env = "AWS_ACCESS_KEY_ID" }
secret_access_key = { env = "AWS_SECRET_ACCESS_KEY" }

[connection.shop]
kind = "postgres"
url = { env = "SHOP_URL" }

[[source]]
name = "orders_landing"
kind = "files"
format = "csv"
path = "s3://lakehouse/landing/orders/ds=${ds}/"
mode = "permissive"
schema = { order_id = "string", ordered_at = "string", store_id = "string", customer_id = "string", quantity = "string", unit_price = "string" }

[[source]]
name = "products_landing"
kind = "files"
format = "json"
path = "s3://lakehouse/landing/products.json"

[[source]]
name = "shop_customers"
connection = "shop"
table = "public.customers"
partition_by = "customer_id"
partitions = 8

[[table]]
name = "bronze.orders"
from = "orders_landing"
mode = "append"
audit = true
partition_by = []

[[table]]
name = "bronze.customers"
from = "shop_customers"
mode = "overwrite"

[[table]]
name = "silver.orders"
mode = "replace_where"
replace_where = "order_date = DATE '2026-11-21'"
partition_by = ["order_date"]
sql = """
SELECT try_cast(order_id AS bigint) AS order_id,
       try_cast(ordered_at AS timestamp) AS ordered_at,
       CAST(try_cast(ordered_at AS timestamp) AS date) AS order_date,
       try_cast(quantity AS int) AS quantity,
       try_cast(unit_price AS decimal(10, 2)) AS unit_price,
       o.customer_id
FROM bronze.orders AS o
WHERE _rescued IS NULL
"""
  [[table.expect]]
  name = "has_order_id"
  check = "order_id IS NOT NULL"
  action = "drop"
  [[table.expect]]
  name = "quantity_is_positive"
  check = "quantity > 0"
  action = "drop"
  [[table.expect]]
  name = "has_customer"
  check = "customer_id IS NOT NULL"
  action = "warn"

[[table]]
name = "silver.products"
from = "products_landing"
mode = "overwrite"
  [[table.expect]]
  name = "has_category"
  check = "category <> ''"
  action = "fail"

[[table]]
name = "silver.customers"
mode = "overwrite"
sql = "SELECT customer_id, lower(trim(email)) AS email, upper(country) AS country FROM bronze.customers"
  [[table.expect]]
  name = "email_has_at"
  check = "email LIKE '%@%'"
  action = "drop"

[[table]]
name = "gold.daily_revenue"
mode = "overwrite"
sql = "SELECT order_date, c.country, sum(quantity * unit_price) AS revenue FROM silver.orders o JOIN silver.customers c ON o.customer_id = c.customer_id GROUP BY order_date, c.country"

[[table]]
name = "gold.top_products"
mode = "overwrite"
sql = "SELECT p.category, p.name, sum(o.quantity) AS units FROM silver.orders o JOIN silver.products p ON true JOIN reference.calendar d ON d.day = o.order_date GROUP BY p.category, p.name LIMIT ${top}"
"#;

/// What the text means.
pub(crate) fn pipeline(text: &str) -> Option<Pipeline> {
    let today = chrono::NaiveDate::from_ymd_opt(2026, 11, 21)?;
    let options = LoadOptions::new(today, "/jobs/retail");
    match parse("job.toml", text, &options, &|_| Err("no files here".to_owned())) {
        Ok(pipeline) => Some(pipeline),
        Err(errors) => {
            eprintln!("{errors}");
            None
        }
    }
}
