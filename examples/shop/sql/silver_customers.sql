-- One row per customer, the latest, with a country for everybody.
WITH ranked AS (
    SELECT
        customer_id,
        country,
        row_number() OVER (PARTITION BY customer_id ORDER BY updated_at DESC, row_id DESC) AS recency
    FROM crm_customers
)
SELECT customer_id, coalesce(nullif(upper(trim(country)), ''), 'unknown') AS country
FROM ranked
WHERE recency = 1
