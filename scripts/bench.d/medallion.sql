-- The same three layers in plain DataFusion: CSV to Parquet folders, one statement after another.
CREATE EXTERNAL TABLE orders_csv (o_orderkey VARCHAR, o_custkey VARCHAR, o_orderstatus VARCHAR, o_totalprice VARCHAR, o_orderdate VARCHAR, o_orderpriority VARCHAR, o_clerk VARCHAR, o_shippriority VARCHAR, o_comment VARCHAR) STORED AS CSV LOCATION '${csv}/orders/' OPTIONS ('format.has_header' 'true');
CREATE EXTERNAL TABLE lineitem_csv (l_orderkey VARCHAR, l_partkey VARCHAR, l_suppkey VARCHAR, l_linenumber VARCHAR, l_quantity VARCHAR, l_extendedprice VARCHAR, l_discount VARCHAR, l_tax VARCHAR, l_returnflag VARCHAR, l_linestatus VARCHAR, l_shipdate VARCHAR, l_commitdate VARCHAR, l_receiptdate VARCHAR, l_shipinstruct VARCHAR, l_shipmode VARCHAR, l_comment VARCHAR) STORED AS CSV LOCATION '${csv}/lineitem/' OPTIONS ('format.has_header' 'true');
COPY (SELECT * FROM orders_csv) TO '${out}/bronze_orders/' STORED AS PARQUET;
CREATE EXTERNAL TABLE bronze_orders STORED AS PARQUET LOCATION '${out}/bronze_orders/';
COPY (SELECT * FROM lineitem_csv) TO '${out}/bronze_lineitem/' STORED AS PARQUET;
CREATE EXTERNAL TABLE bronze_lineitem STORED AS PARQUET LOCATION '${out}/bronze_lineitem/';
COPY (SELECT CAST(o_orderkey AS bigint) AS o_orderkey, CAST(o_custkey AS bigint) AS o_custkey, o_orderstatus,
       CAST(o_totalprice AS decimal(15,2)) AS o_totalprice, CAST(o_orderdate AS date) AS o_orderdate, o_orderpriority
FROM (SELECT *, row_number() OVER (PARTITION BY o_orderkey ORDER BY o_orderdate DESC) AS rn FROM bronze_orders)
WHERE rn = 1 AND o_orderkey IS NOT NULL) TO '${out}/silver_orders/' STORED AS PARQUET;
CREATE EXTERNAL TABLE silver_orders STORED AS PARQUET LOCATION '${out}/silver_orders/';
COPY (SELECT DISTINCT CAST(l_orderkey AS bigint) AS l_orderkey, CAST(l_linenumber AS int) AS l_linenumber,
       CAST(l_quantity AS decimal(15,2)) AS l_quantity, CAST(l_extendedprice AS decimal(15,2)) AS l_extendedprice,
       CAST(l_discount AS decimal(15,2)) AS l_discount, l_returnflag, CAST(l_shipdate AS date) AS l_shipdate, l_shipmode
FROM bronze_lineitem
WHERE CAST(l_quantity AS decimal(15,2)) > 0) TO '${out}/silver_lineitem/' STORED AS PARQUET;
CREATE EXTERNAL TABLE silver_lineitem STORED AS PARQUET LOCATION '${out}/silver_lineitem/';
COPY (SELECT o_orderdate, count(*) AS orders, sum(o_totalprice) AS revenue FROM silver_orders GROUP BY o_orderdate) TO '${out}/gold_revenue_by_day/' STORED AS PARQUET;
CREATE EXTERNAL TABLE gold_revenue_by_day STORED AS PARQUET LOCATION '${out}/gold_revenue_by_day/';
COPY (SELECT l_shipmode, l_returnflag, sum(l_extendedprice * (1 - l_discount)) AS revenue, count(*) AS lines
FROM silver_lineitem GROUP BY l_shipmode, l_returnflag) TO '${out}/gold_revenue_by_mode/' STORED AS PARQUET;
CREATE EXTERNAL TABLE gold_revenue_by_mode STORED AS PARQUET LOCATION '${out}/gold_revenue_by_mode/';
