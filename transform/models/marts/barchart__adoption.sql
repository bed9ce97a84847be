with recent as (
    {{- recent_usage() }}
),

types as (
    select customer, product, type, min(first_event_at) as first_seen_at
    from {{ ref('int_barchart__daily_usage') }}
    group by customer, product, type
),

{{ subjects_and_actions('types') }},

users as (
    select customer, product, type, count(distinct user_id) as users
    from recent
    group by customer, product, type
),

products as (
    select customer, product, count(distinct user_id) as users
    from recent
    group by customer, product
)

select
    types.customer,
    types.product,
    types.type,
    types.subject,
    types.action,
    types.first_seen_at,
    coalesce(users.users, 0) as users_28_days,
    coalesce(products.users, 0) as active_users_28_days,
    {{ share('coalesce(users.users, 0)', 'products.users') }} as share_of_active_users
from split_types as types
left join users
    on users.customer = types.customer
    and users.product = types.product
    and users.type = types.type
left join products
    on products.customer = types.customer
    and products.product = types.product
