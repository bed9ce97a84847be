with products as (
    select customer, product, min(day) as first_day, max(complete_until) as complete_until
    from {{ ref('int_barchart__days') }}
    group by customer, product
),

-- The last day of which some window of any product has a part.
customers as (
    select
        customer,
        cast({{ dbt.dateadd('millisecond', -1, 'max(complete_until)') }} as date) as last_day
    from products
    group by customer
),

numbers as (
    -- Enough for 44 years.
    select cast(generated_number - 1 as {{ dbt.type_int() }}) as number
    from ({{ dbt.generate_series(16384) }}) as series
),

calendar as (
    select
        products.customer,
        products.product,
        products.complete_until,
        {{ days_after('products.first_day', 'numbers.number') }} as day
    from products
    inner join customers on customers.customer = products.customer
    inner join numbers
        on numbers.number <= {{ dbt.datediff('products.first_day', 'customers.last_day', 'day') }}
),

user_days as (
    select
        *,
        lead(day) over (partition by customer, product, user_id order by day) as next_day
    from {{ ref('barchart__user_days') }}
),

-- From a day with events on, a user counts for 7 (28) days, or until the user's next day, from which
-- the user counts again.
changes as (
    select
        customer,
        product,
        day,
        1 as active_users,
        case when day = first_day then 1 else 0 end as new_users,
        1 as users_7_days,
        1 as users_28_days
    from user_days
    {%- for days in [7, 28] %}
    {%- set end = days_after('day', days) %}
    union all
    select
        customer,
        product,
        case when next_day < {{ end }} then next_day else {{ end }} end,
        0,
        0,
        {{ -1 if days == 7 else 0 }},
        {{ -1 if days == 28 else 0 }}
    from user_days
    {%- endfor %}
),

users as (
    select
        customer,
        product,
        day,
        {{ total('active_users') }} as active_users,
        {{ total('new_users') }} as new_users,
        sum(users_7_days) as users_7_days,
        sum(users_28_days) as users_28_days
    from changes
    group by customer, product, day
),

sessions as (
    select customer, product, day, count(*) as sessions
    from {{ ref('barchart__sessions') }}
    group by customer, product, day
),

counted as (
    select
        calendar.customer,
        calendar.product,
        calendar.day,
        calendar.complete_until >= cast({{ days_after('calendar.day', 1) }} as {{ plain_timestamp() }}) as is_complete,
        coalesce(users.active_users, 0) as active_users,
        {%- for days in [7, 28] %}
        cast(
            sum(coalesce(users.users_{{ days }}_days, 0)) over (
                partition by calendar.customer, calendar.product order by calendar.day
                rows between unbounded preceding and current row
            ) as {{ dbt.type_bigint() }}
        ) as active_users_{{ days }}_days,
        {%- endfor %}
        coalesce(users.new_users, 0) as new_users,
        coalesce(sessions.sessions, 0) as sessions,
        coalesce(days.events, 0) as events
    from calendar
    left join {{ ref('int_barchart__days') }} as days
        on days.customer = calendar.customer
        and days.product = calendar.product
        and days.day = calendar.day
    left join users
        on users.customer = calendar.customer
        and users.product = calendar.product
        and users.day = calendar.day
    left join sessions
        on sessions.customer = calendar.customer
        and sessions.product = calendar.product
        and sessions.day = calendar.day
)

select
    customer,
    product,
    day,
    is_complete,
    {%- for name in ['active_users', 'active_users_7_days', 'active_users_28_days'] %}
    {{ if_known(name) }} as {{ name }},
    {%- endfor %}
    {{ if_known(share('active_users', 'active_users_28_days')) }} as stickiness,
    {{ if_known('new_users') }} as new_users,
    {{ if_known('sessions') }} as sessions,
    {{ if_known('events') }} as events
from counted
