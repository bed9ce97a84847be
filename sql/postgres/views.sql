-- Views over the table that target-postgres loads: typed columns, daily active users, events by
-- type and day, sessions. Run with the table's schema first in search_path; run again after an
-- upgrade. Every time is UTC, every day is a day of UTC.

begin;

-- A column exists once a product that has it was loaded. Those read below are made at once, so
-- that the views do not depend on the products chosen; the target fills them when they come.
alter table events
    add column if not exists user_id text,
    add column if not exists symbol text,
    add column if not exists session_id text,
    add column if not exists show_closed_positions text,
    add column if not exists is_open text,
    add column if not exists collapsed text,
    add column if not exists filter_visible text,
    add column if not exists is_set text,
    add column if not exists symbols_count text,
    add column if not exists fields_count text,
    add column if not exists symbols_conversion_count text,
    add column if not exists roots_count text,
    add column if not exists strike_count text;

-- The service promises no spelling. What is neither of the usual ones is null, never an error.
create or replace function event_flag(value text) returns boolean
language sql immutable parallel safe
return case
    when lower(value) in ('true', 't', 'yes', 'y', 'on', '1') then true
    when lower(value) in ('false', 'f', 'no', 'n', 'off', '0') then false
end;

create or replace function event_count(value text) returns bigint
language sql immutable parallel safe
return case when value ~ '^[0-9]{1,18}$' then value::bigint end;

create or replace view events_typed as
select
    event_id,
    customer,
    product,
    type,
    occurred_at,
    (occurred_at at time zone 'UTC')::date as day,
    user_id,
    symbol,
    session_id,
    event_flag(show_closed_positions) as show_closed_positions,
    event_flag(is_open) as is_open,
    event_flag(collapsed) as collapsed,
    event_flag(filter_visible) as filter_visible,
    event_flag(is_set) as is_set,
    event_count(symbols_count) as symbols_count,
    event_count(fields_count) as fields_count,
    event_count(symbols_conversion_count) as symbols_conversion_count,
    event_count(roots_count) as roots_count,
    event_count(strike_count) as strike_count,
    -- The target stores nothing as the JSON null; an object from a Parquet file has nulls inside.
    case jsonb_typeof(extra) when 'object' then jsonb_strip_nulls(extra) end as extra
from events
-- Where the column was made as timestamptz, this is "timestamp" alone.
cross join lateral (select "timestamp" at time zone 'UTC' as occurred_at) as utc;

create or replace view daily_active_users as
select
    customer,
    product,
    day,
    count(distinct user_id) as active_users,
    count(*) as events
from events_typed
group by customer, product, day;

create or replace view events_by_type_and_day as
select
    customer,
    product,
    type,
    day,
    count(*) as events,
    count(distinct user_id) as users
from events_typed
group by customer, product, type, day;

-- A session: one user's events in one product, no more than 30 minutes between one and the next.
create or replace view sessions as
with gaps as (
    select
        customer,
        product,
        user_id,
        event_id,
        occurred_at,
        occurred_at - lag(occurred_at) over next_event > interval '30 minutes' as is_first
    from events_typed
    where user_id is not null
    window next_event as (partition by customer, product, user_id order by occurred_at, event_id)
),
numbered as (
    select
        customer,
        product,
        user_id,
        occurred_at,
        1 + count(*) filter (where is_first) over (
            partition by customer, product, user_id
            order by occurred_at, event_id
            rows unbounded preceding
        ) as session_number
    from gaps
)
select
    customer,
    product,
    user_id,
    session_number,
    min(occurred_at) as started_at,
    max(occurred_at) as ended_at,
    extract(epoch from max(occurred_at) - min(occurred_at))::double precision as seconds,
    count(*) as events
from numbered
group by customer, product, user_id, session_number;

commit;
