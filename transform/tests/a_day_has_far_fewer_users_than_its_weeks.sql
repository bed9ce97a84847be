{# Days of the last week on which the users of a product collapse: fewer than a quarter of the mean of
   the same day in the four weeks before, where that is at least 10. Events without their users, as
   after a change of columns, show here too. Only complete days count. #}
{{ config(severity='warn') }}

with customers as (
    select customer, max(day) as last_day
    from {{ ref('barchart__daily_active_users') }}
    group by customer
)

select days.customer, days.product, days.day, days.active_users, avg(earlier.active_users) as mean_users
from {{ ref('barchart__daily_active_users') }} as days
inner join customers on customers.customer = days.customer
inner join {{ ref('barchart__daily_active_users') }} as earlier
    on earlier.customer = days.customer
    and earlier.product = days.product
    and earlier.day in (
        {%- for weeks in range(1, 5) %}
        {{ days_after('days.day', -7 * weeks) }}{{ ',' if not loop.last }}
        {%- endfor %}
    )
where days.is_complete and days.day > {{ days_after('customers.last_day', -8) }}
group by days.customer, days.product, days.day, days.active_users
having avg(earlier.active_users) >= 10 and days.active_users < avg(earlier.active_users) / 4
