{# Whether an event begins a session: it is the first, or comes too long after the one before it. #}
{% macro begins_session(previous_at, at) -%}
    {{ previous_at }} is null
    or {{ at }} > {{ dbt.dateadd('minute', var('barchart_session_minutes', 30), previous_at) }}
{%- endmacro %}
