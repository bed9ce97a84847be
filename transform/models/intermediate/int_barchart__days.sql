select
    customer,
    product,
    day,
    count(*) as events,
    count(user_id) as user_events,
    min(occurred_at) as first_event_at,
    max(occurred_at) as last_event_at,
    max(window_end) as complete_until
from {{ ref('stg_barchart__events') }}
group by customer, product, day
