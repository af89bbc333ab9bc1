-- What was sold on the day, by country and category. Orders of nobody count as of an unknown country.
SELECT
    o.ordered_on,
    coalesce(c.country, 'unknown') AS country,
    p.category,
    count(*) AS orders,
    sum(o.quantity) AS pieces,
    sum(o.quantity * p.list_price) AS revenue
FROM silver.orders AS o
JOIN silver.products AS p ON p.product_id = o.product_id
LEFT JOIN silver.customers AS c ON c.customer_id = o.customer_id
WHERE o.ordered_on = DATE '${ds}'
GROUP BY o.ordered_on, coalesce(c.country, 'unknown'), p.category
