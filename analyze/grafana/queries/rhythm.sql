with counted as (
    select
        to_timestamp($__timeGroup("timestamp", '1h')) at time zone 'UTC' as hour,
        count(*) as events
    from barchart.events
    where customer = ${customer:sqlstring} and product in (${product:sqlstring})
        and $__timeFilter("timestamp")
    group by 1
),

hours as (
    select distinct day + number * interval '1 hour' as hour
    from barchart_marts.barchart__daily_active_users
    cross join generate_series(0, 23) as numbers (number)
    where customer = ${customer:sqlstring} and product in (${product:sqlstring})
        and $__timeFilter(day)
)

select
    to_char(hour, 'Dy') as "Weekday",
    to_char(hour, 'HH24') as "Hour",
    avg(coalesce(events, 0)) as "Events"
from hours
left join counted using (hour)
group by 1, 2, extract(isodow from hour)
order by extract(isodow from hour), 2
