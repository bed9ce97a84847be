with user_weeks as (
    select distinct
        customer,
        product,
        user_id,
        {{ monday('first_day') }} as first_week,
        {{ monday('day') }} as week
    from {{ ref('barchart__user_days') }}
),

cohorts as (
    select customer, product, first_week, count(distinct user_id) as users
    from user_weeks
    group by customer, product, first_week
),

-- Every week in which somebody used the product, so that a week without anybody of a cohort is a
-- row too.
weeks as (
    select distinct customer, product, week
    from user_weeks
),

active as (
    select customer, product, first_week, week, count(*) as active_users
    from user_weeks
    group by customer, product, first_week, week
)

select
    cohorts.customer,
    cohorts.product,
    cohorts.first_week,
    weeks.week,
    cast({{ dbt.datediff('cohorts.first_week', 'weeks.week', 'day') }} / 7 as {{ dbt.type_int() }}) as weeks_later,
    cohorts.users,
    coalesce(active.active_users, 0) as active_users,
    cast(coalesce(active.active_users, 0) as double precision) / cohorts.users as retention
from cohorts
inner join weeks
    on weeks.customer = cohorts.customer
    and weeks.product = cohorts.product
    and weeks.week >= cohorts.first_week
left join active
    on active.customer = cohorts.customer
    and active.product = cohorts.product
    and active.first_week = cohorts.first_week
    and active.week = weeks.week
