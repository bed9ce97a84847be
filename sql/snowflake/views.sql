-- Views over the table that target-snowflake loads: typed columns, daily active users, events by
-- type and day, sessions. Run with the table's schema in use (USE SCHEMA); run again after an
-- upgrade. Every time is UTC, every day is a day of UTC.

-- A column exists once a product that has it was loaded. Those read below are made at once, so
-- that the views do not depend on the products chosen; the target fills them when they come.
ALTER TABLE events ADD COLUMN IF NOT EXISTS user_id VARCHAR;
ALTER TABLE events ADD COLUMN IF NOT EXISTS symbol VARCHAR;
ALTER TABLE events ADD COLUMN IF NOT EXISTS session_id VARCHAR;
ALTER TABLE events ADD COLUMN IF NOT EXISTS show_closed_positions VARCHAR;
ALTER TABLE events ADD COLUMN IF NOT EXISTS is_open VARCHAR;
ALTER TABLE events ADD COLUMN IF NOT EXISTS collapsed VARCHAR;
ALTER TABLE events ADD COLUMN IF NOT EXISTS filter_visible VARCHAR;
ALTER TABLE events ADD COLUMN IF NOT EXISTS is_set VARCHAR;
ALTER TABLE events ADD COLUMN IF NOT EXISTS symbols_count VARCHAR;
ALTER TABLE events ADD COLUMN IF NOT EXISTS fields_count VARCHAR;
ALTER TABLE events ADD COLUMN IF NOT EXISTS symbols_conversion_count VARCHAR;
ALTER TABLE events ADD COLUMN IF NOT EXISTS roots_count VARCHAR;
ALTER TABLE events ADD COLUMN IF NOT EXISTS strike_count VARCHAR;

-- The service promises no spelling. What is neither of the usual ones is null, never an error.
CREATE OR REPLACE VIEW events_typed AS
SELECT
    event_id,
    customer,
    product,
    type,
    timestamp AS occurred_at,
    timestamp::DATE AS day,
    user_id,
    symbol,
    session_id,
    CASE
        WHEN LOWER(show_closed_positions) IN ('true', 't', 'yes', 'y', 'on', '1') THEN TRUE
        WHEN LOWER(show_closed_positions) IN ('false', 'f', 'no', 'n', 'off', '0') THEN FALSE
    END AS show_closed_positions,
    CASE
        WHEN LOWER(is_open) IN ('true', 't', 'yes', 'y', 'on', '1') THEN TRUE
        WHEN LOWER(is_open) IN ('false', 'f', 'no', 'n', 'off', '0') THEN FALSE
    END AS is_open,
    CASE
        WHEN LOWER(collapsed) IN ('true', 't', 'yes', 'y', 'on', '1') THEN TRUE
        WHEN LOWER(collapsed) IN ('false', 'f', 'no', 'n', 'off', '0') THEN FALSE
    END AS collapsed,
    CASE
        WHEN LOWER(filter_visible) IN ('true', 't', 'yes', 'y', 'on', '1') THEN TRUE
        WHEN LOWER(filter_visible) IN ('false', 'f', 'no', 'n', 'off', '0') THEN FALSE
    END AS filter_visible,
    CASE
        WHEN LOWER(is_set) IN ('true', 't', 'yes', 'y', 'on', '1') THEN TRUE
        WHEN LOWER(is_set) IN ('false', 'f', 'no', 'n', 'off', '0') THEN FALSE
    END AS is_set,
    CASE WHEN REGEXP_LIKE(symbols_count, '[0-9]{1,18}')
        THEN TRY_TO_NUMBER(symbols_count, 18, 0) END AS symbols_count,
    CASE WHEN REGEXP_LIKE(fields_count, '[0-9]{1,18}')
        THEN TRY_TO_NUMBER(fields_count, 18, 0) END AS fields_count,
    CASE WHEN REGEXP_LIKE(symbols_conversion_count, '[0-9]{1,18}')
        THEN TRY_TO_NUMBER(symbols_conversion_count, 18, 0) END AS symbols_conversion_count,
    CASE WHEN REGEXP_LIKE(roots_count, '[0-9]{1,18}')
        THEN TRY_TO_NUMBER(roots_count, 18, 0) END AS roots_count,
    CASE WHEN REGEXP_LIKE(strike_count, '[0-9]{1,18}')
        THEN TRY_TO_NUMBER(strike_count, 18, 0) END AS strike_count,
    extra
FROM events;

CREATE OR REPLACE VIEW daily_active_users AS
SELECT
    customer,
    product,
    day,
    COUNT(DISTINCT user_id) AS active_users,
    COUNT(*) AS events
FROM events_typed
GROUP BY customer, product, day;

CREATE OR REPLACE VIEW events_by_type_and_day AS
SELECT
    customer,
    product,
    type,
    day,
    COUNT(*) AS events,
    COUNT(DISTINCT user_id) AS users
FROM events_typed
GROUP BY customer, product, type, day;

-- A session: one user's events in one product, no more than 30 minutes between one and the next.
CREATE OR REPLACE VIEW sessions AS
WITH gaps AS (
    SELECT
        customer,
        product,
        user_id,
        event_id,
        occurred_at,
        CASE WHEN DATEDIFF('millisecond', LAG(occurred_at) OVER (
            PARTITION BY customer, product, user_id ORDER BY occurred_at, event_id
        ), occurred_at) > 30 * 60 * 1000 THEN 1 ELSE 0 END AS is_first
    FROM events_typed
    WHERE user_id IS NOT NULL
),
numbered AS (
    SELECT
        customer,
        product,
        user_id,
        occurred_at,
        1 + SUM(is_first) OVER (
            PARTITION BY customer, product, user_id
            ORDER BY occurred_at, event_id
            ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
        ) AS session_number
    FROM gaps
)
SELECT
    customer,
    product,
    user_id,
    session_number,
    MIN(occurred_at) AS started_at,
    MAX(occurred_at) AS ended_at,
    DATEDIFF('millisecond', MIN(occurred_at), MAX(occurred_at)) / 1000 AS seconds,
    COUNT(*) AS events
FROM numbered
GROUP BY customer, product, user_id, session_number;
