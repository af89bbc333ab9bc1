-- Revenue per country and day, with the total of the month so far.
WITH daily AS (
    SELECT
        coalesce(s.country, 'Online') AS country,
        o.order_date,
        count(*) AS orders,
        sum(o.amount) AS revenue
    FROM silver.orders AS o
    JOIN silver.stores AS s ON s.store_id = o.store_id
    WHERE o.status = 'completed'
    GROUP BY coalesce(s.country, 'Online'), o.order_date
)
SELECT
    country,
    order_date,
    orders,
    revenue,
    sum(revenue) OVER (
        PARTITION BY country, date_trunc('month', order_date)
        ORDER BY order_date
        ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
    ) AS revenue_month_to_date
FROM daily
ORDER BY order_date, country
