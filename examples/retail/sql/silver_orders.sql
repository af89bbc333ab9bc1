-- One row per order: what does not parse is NULL (the expectations decide), the latest delivery of an order wins.
WITH typed AS (
    SELECT
        try_cast(order_id AS bigint) AS order_id,
        try_cast(ordered_at AS timestamp) AS ordered_at,
        try_cast(store_id AS int) AS store_id,
        nullif(customer_id, '') AS customer_id,
        try_cast(product_id AS int) AS product_id,
        try_cast(quantity AS int) AS quantity,
        try_cast(unit_price AS decimal(10, 2)) AS unit_price,
        lower(status) AS status
    FROM bronze.orders
    WHERE _rescued IS NULL
),
ranked AS (
    SELECT
        *,
        row_number() OVER (PARTITION BY order_id ORDER BY ordered_at DESC NULLS LAST) AS delivery
    FROM typed
)
SELECT
    order_id,
    ordered_at,
    CAST(ordered_at AS date) AS order_date,
    store_id,
    customer_id,
    product_id,
    quantity,
    unit_price,
    CAST(quantity * unit_price AS decimal(12, 2)) AS amount,
    status
FROM ranked
WHERE delivery = 1
