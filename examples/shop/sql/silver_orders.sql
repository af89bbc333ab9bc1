-- The day's orders, each in its latest version.
WITH ranked AS (
    SELECT
        *,
        row_number() OVER (PARTITION BY order_id ORDER BY updated_at DESC, row_id DESC) AS recency
    FROM bronze.orders
    WHERE ordered_on = DATE '${ds}'
)
SELECT order_id, ordered_on, customer_id, product_id, quantity, updated_at
FROM ranked
WHERE recency = 1
