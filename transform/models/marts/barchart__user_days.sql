select
    customer,
    product,
    user_id,
    day,
    min(day) over (partition by customer, product, user_id) as first_day,
    min(started_at) as first_event_at,
    max(ended_at) as last_event_at,
    {{ total('events') }} as events
from {{ ref('int_barchart__daily_sessions') }}
group by customer, product, user_id, day
