-- What the table holds of each product; days that are complete and have no event.
select
    product,
    overview.events,
    last_event_at,
    complete_until,
    count(*) filter (is_complete and days.events = 0) as quiet_days
from barchart__product_overview as overview
inner join barchart__daily_active_users as days using (product)
group by all
order by product
