SELECT
    country,
    count(*) AS customers,
    sum(credit_limit) AS credit_limit,
    min(signed_up_on) AS first_signed_up_on,
    rank() OVER (ORDER BY count(*) DESC, country) AS place
FROM silver.customers_cleansed
GROUP BY country
ORDER BY place
