-- Symbols: their users and events in 28 days.
select product, symbol, count(distinct user_id) as users, sum(events)::bigint as number
from int_barchart__daily_usage
where symbol is not null and day > $last - 28 and day <= $last
group by product, symbol
order by product, users desc, number desc, symbol
