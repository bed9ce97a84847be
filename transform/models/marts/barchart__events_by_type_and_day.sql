select
    customer,
    product,
    type,
    subject,
    action,
    day,
    {{ total('events') }} as events,
    count(user_id) as active_users
from {{ ref('int_barchart__user_type_days') }}
group by customer, product, type, subject, action, day
