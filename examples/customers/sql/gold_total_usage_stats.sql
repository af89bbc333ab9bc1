-- Usage per customer: totals, place within the country, share of the country.
WITH totals AS (
    SELECT
        c.country,
        c.customer_id,
        c.full_name,
        count(u.usage_id) AS records,
        coalesce(sum(u.minutes), 0) AS total_minutes,
        coalesce(sum(u.megabytes), 0) AS total_megabytes,
        max(u.used_on) AS last_used_on
    FROM silver.customers_cleansed AS c
    LEFT JOIN silver.usage AS u ON u.customer_id = c.customer_id
    GROUP BY c.country, c.customer_id, c.full_name
)
SELECT
    country,
    customer_id,
    full_name,
    records,
    total_minutes,
    total_megabytes,
    last_used_on,
    rank() OVER (PARTITION BY country ORDER BY total_minutes DESC, customer_id) AS place_in_country,
    sum(total_minutes) OVER (PARTITION BY country) AS country_minutes,
    lag(total_minutes) OVER (PARTITION BY country ORDER BY total_minutes DESC, customer_id) AS minutes_of_place_before
FROM totals
