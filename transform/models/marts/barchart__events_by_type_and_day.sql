with type_days as (
    select
        customer,
        product,
        type,
        day,
        {{ total('events') }} as events,
        count(user_id) as active_users
    from {{ ref('int_barchart__user_type_days') }}
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
