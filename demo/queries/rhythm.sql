-- Sessions begun in 28 days, by weekday (1 is Monday) and hour.
select isodow(started_at) as weekday, hour(started_at) as hour, count(*) as sessions
from barchart__sessions
where day > $last - 28 and day <= $last
group by all
order by all
