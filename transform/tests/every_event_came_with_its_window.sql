{# All events of a customer, product, type and instant come in one window. Reading it again gives all
   of them the same end. A row with an older one came again under another event_id, or no longer
   comes, or a run that read it again was interrupted: docs/dbt.md. #}
{{ config(severity='warn') }}

select customer, product, type, occurred_at, min(window_end) as oldest_end, max(window_end) as latest_end
from {{ ref('stg_barchart__events') }}
group by customer, product, type, occurred_at
having min(window_end) <> max(window_end)
