-- One row per customer, the latest; typed, trimmed, with a country for everybody.
WITH ranked AS (
    SELECT
        *,
        row_number() OVER (
            PARTITION BY customer_id
            ORDER BY updated_at DESC, row_id DESC, _ingested_at DESC
        ) AS recency
    FROM bronze.customers
)
SELECT
    customer_id,
    coalesce(nullif(trim(full_name), ''), 'unknown') AS full_name,
    lower(trim(email)) AS email,
    coalesce(nullif(upper(trim(country)), ''), 'unknown') AS country,
    try_cast(signed_up AS date) AS signed_up_on,
    coalesce(credit_limit, 0) AS credit_limit,
    updated_at
FROM ranked
WHERE recency = 1
