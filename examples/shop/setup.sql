-- Input of the example: products and the orders of every day of 2026 and 2027, of the customers that
-- examples/customers/setup.sql makes. Everything is computed, so that every run of this script gives the same rows.
BEGIN;

DROP TABLE IF EXISTS public.orders;
DROP TABLE IF EXISTS public.products;

CREATE TABLE public.products (
    product_id integer PRIMARY KEY,
    name text NOT NULL,
    category text,         -- sometimes missing
    list_price numeric(10, 2) NOT NULL
);

INSERT INTO public.products
SELECT
    n,
    'Product ' || n,
    CASE WHEN n % 17 = 0 THEN NULL ELSE (ARRAY['Phones', 'Tariffs', 'Accessories', 'Repairs'])[n % 4 + 1] END,
    (n % 40 + 1) * 5 - 0.01
FROM generate_series(1, 120) AS n;

CREATE TABLE public.orders (
    row_id bigint PRIMARY KEY,
    order_id bigint NOT NULL,   -- sent again when the order changes
    ordered_on date NOT NULL,
    customer_id integer,        -- sometimes nobody's
    product_id integer NOT NULL,
    quantity integer NOT NULL,  -- sometimes not above zero
    updated_at timestamptz NOT NULL
);

-- Forty rows a day, of which every tenth is a later version of the one before it.
INSERT INTO public.orders
SELECT
    n,
    CASE WHEN n % 10 = 0 THEN n - 1 ELSE n END,
    DATE '2026-01-01' + ((n - 1) / 40)::integer,
    CASE WHEN n % 83 = 0 THEN NULL ELSE (n * 7919 % 5600 + 1)::integer END,
    (n * 31 % 120 + 1)::integer,
    CASE WHEN n % 71 = 0 THEN 0 ELSE (n % 5 + 1)::integer END,
    (DATE '2026-01-01' + ((n - 1) / 40)::integer) + INTERVAL '8 hours' + (n % 40) * INTERVAL '15 minutes'
FROM generate_series(1::bigint, 730 * 40) AS n;

COMMIT;
ANALYZE public.products;
ANALYZE public.orders;
