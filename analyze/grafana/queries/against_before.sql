with chosen as (
    select
        $__timeFrom()::date as first_day,
        $__timeTo()::date as last_day,
        ($__timeTo()::date - $__timeFrom()::date + 1)::int as days
),

periods as (
    select 'now' as period, first_day, last_day
    from chosen
    union all
    -- Only if each day of both periods is complete, in each product.
    select 'before', first_day - days, last_day - days
    from chosen
    where 2 * days * array_length(array[${product:sqlstring}], 1) = (
        select count(*)
        from barchart_marts.barchart__daily_active_users
        where customer = ${customer:sqlstring} and product in (${product:sqlstring})
            and day between first_day - days and last_day
            and is_complete
    )
),

counted as (
    select period, <value> as value
    from periods
    left join barchart_marts.<mart>
        on customer = ${customer:sqlstring} and product in (${product:sqlstring})
        and day between periods.first_day and periods.last_day
    group by period
)

select
    now.value as "<title>",
    before.value as "Before",
    now.value::double precision / nullif(before.value, 0) - 1 as "Change"
from counted as now
left join counted as before on before.period = 'before'
where now.period = 'now'
