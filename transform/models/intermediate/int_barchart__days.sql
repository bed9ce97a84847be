with events as (
    select *, {{ checksum('event_id') }} as checksum
    from {{ ref('stg_barchart__events') }}
)

select
    customer,
    product,
    day,
    count(*) as events,
    {{ total('checksum') }} as events_checksum,
    count(user_id) as user_events,
    {{ total('case when user_id is not null then checksum else 0 end') }} as user_events_checksum,
    min(occurred_at) as first_event_at,
    max(occurred_at) as last_event_at,
    max(window_end) as complete_until
from events
group by customer, product, day
