with user_weeks as (
    select distinct
        customer,
        product,
        user_id,
        {{ monday('first_day') }} as first_week,
        {{ monday('day') }} as week
    from {{ ref('barchart__user_days') }}
),

in_order as (
    select
        *,
        lag(week) over (partition by customer, product, user_id order by week) as previous_week,
        lead(week) over (partition by customer, product, user_id order by week) as next_week,
        {{ days_after('week', 7) }} as week_after
    from user_weeks
),

states as (
    select
        *,
        case
            when week = first_week then 'new'
            when previous_week = {{ days_after('week', -7) }} then 'returning'
            else 'reactivated'
        end as state
    from in_order
),

users as (
    select
        customer,
        product,
        week,
        count(*) as active_users,
        {%- for state in ['new', 'returning', 'reactivated'] %}
        {{ total("case when state = '" ~ state ~ "' then 1 else 0 end") }} as {{ state }}_users{{ ',' if not loop.last }}
        {%- endfor %}
    from states
    group by customer, product, week
),

lost as (
    select customer, product, week_after as week, count(*) as lost_users
    from in_order
    where next_week is null or next_week > week_after
    group by customer, product, week_after
),

weeks as (
    {{- periods('week', monday) }}
)

select
    weeks.customer,
    weeks.product,
    weeks.week,
    is_complete,
    {%- for state in ['active', 'new', 'returning', 'reactivated'] %}
    {{ if_known('coalesce(users.' ~ state ~ '_users, 0)') }} as {{ state }}_users,
    {%- endfor %}
    case when is_complete then coalesce(lost.lost_users, 0) end as lost_users
from weeks
left join users
    on users.customer = weeks.customer
    and users.product = weeks.product
    and users.week = weeks.week
left join lost
    on lost.customer = weeks.customer
    and lost.product = weeks.product
    and lost.week = weeks.week
