-- Input of the example: 5,000 customers of a CRM that sends rows again when they change, and their usage.
-- Everything is computed, so that every run of this script gives the same rows.
BEGIN;

DROP TABLE IF EXISTS public.usage;
DROP TABLE IF EXISTS public.customers;

CREATE TABLE public.customers (
    row_id bigint PRIMARY KEY,
    customer_id integer NOT NULL,
    full_name text,
    email text,
    country text,          -- upper and lower case, blanks, missing
    signed_up text,        -- a date as text, sometimes not
    credit_limit numeric(12, 2),
    preferences jsonb,
    external_id uuid,
    tags text[],
    updated_at timestamptz NOT NULL
);

INSERT INTO public.customers
SELECT
    n,
    -- Every ninth row is a later version of an earlier customer.
    CASE WHEN n % 9 = 0 THEN n - 8 ELSE n END,
    CASE WHEN n % 50 = 0 THEN '  ' ELSE '  Customer ' || n || ' ' END,
    CASE WHEN n % 97 = 0 THEN 'not an address' WHEN n % 89 = 0 THEN NULL ELSE 'C' || n || '@Example.com' END,
    (ARRAY['DE', 'at', 'CH ', 'fr', 'IT', NULL, '', 'de'])[n % 8 + 1],
    CASE WHEN n % 61 = 0 THEN 'unknown' ELSE to_char(DATE '2020-01-01' + n % 2000, 'YYYY-MM-DD') END,
    CASE WHEN n % 13 = 0 THEN NULL ELSE (n % 500) * 10 + 0.25 END,
    jsonb_build_object('newsletter', n % 2 = 0, 'channel', (ARRAY['mail', 'phone'])[n % 2 + 1]),
    md5(n::text)::uuid,
    CASE WHEN n % 5 = 0 THEN NULL ELSE ARRAY['t' || n % 3, 't' || n % 7] END,
    TIMESTAMPTZ '2026-01-01 00:00:00+00' + n * INTERVAL '7 minutes'
FROM generate_series(1, 5625) AS n;

CREATE TABLE public.usage (
    usage_id bigint PRIMARY KEY,
    customer_id integer NOT NULL,
    used_on date NOT NULL,
    minutes numeric(10, 2),
    megabytes bigint
);

INSERT INTO public.usage
SELECT
    n,
    (n * 7919) % 6000 + 1,
    DATE '2026-01-01' + n % 180,
    CASE WHEN n % 1009 = 0 THEN -1 WHEN n % 503 = 0 THEN NULL ELSE (n % 240) + 0.5 END,
    (n::bigint * 104729) % 2000
FROM generate_series(1, 40000) AS n;

COMMIT;
ANALYZE public.customers;
ANALYZE public.usage;
