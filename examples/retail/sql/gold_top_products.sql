-- The best selling products of each category.
WITH sold AS (
    SELECT
        p.category,
        p.product_id,
        p.name AS product,
        sum(o.quantity) AS units,
        sum(o.amount) AS revenue
    FROM silver.orders AS o
    JOIN silver.products AS p ON p.product_id = o.product_id
    WHERE o.status = 'completed'
    GROUP BY p.category, p.product_id, p.name
),
ranked AS (
    SELECT
        category,
        rank() OVER (PARTITION BY category ORDER BY revenue DESC, product_id) AS place,
        product,
        units,
        revenue,
        round(CAST(revenue AS double) / sum(CAST(revenue AS double)) OVER (PARTITION BY category), 4) AS share_of_category
    FROM sold
)
SELECT category, place, product, units, revenue, share_of_category
FROM ranked
WHERE place <= ${top}
ORDER BY category, place
