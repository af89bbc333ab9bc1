-- One row per record of usage, however often it was delivered.
WITH ranked AS (
    SELECT
        usage_id,
        customer_id,
        used_on,
        coalesce(minutes, 0) AS minutes,
        megabytes,
        row_number() OVER (PARTITION BY usage_id ORDER BY _ingested_at DESC) AS recency
    FROM bronze.usage
)
SELECT usage_id, customer_id, used_on, minutes, megabytes
FROM ranked
WHERE recency = 1
