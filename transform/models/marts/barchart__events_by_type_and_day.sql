with type_days as (
    select
        customer,
        product,
        type,
        day,
        {{ total('events') }} as events,
        count(distinct user_id) as active_users
    from {{ ref('int_barchart__daily_usage') }}
    group by customer, product, type, day
),

{{ subjects_and_actions('type_days') }}

select
    customer,
    product,
    type,
    subject,
    action,
    day,
    events,
    active_users
from split_types
