{# For DuckDB: load the table `events` from files, each event once. DBT_DUCKDB_FILES names them, as a
   path or a pattern such as /data/*.parquet: BATCH files of the tap (Parquet or JSON lines, gzip or
   not), or what target-jsonl wrote. Without it, the table has to be there. #}
{% macro load_files() %}
    {%- set files = env_var('DBT_DUCKDB_FILES', '') if target.type == 'duckdb' else '' -%}
    {%- if files and execute %}
        {%- set events = source('barchart', 'events') -%}
        {%- set path = "'" ~ files | replace("'", "''") ~ "'" %}
        create schema if not exists {{ events.without_identifier() }};
        create or replace table {{ events }} as
        select * replace (
            cast("timestamp" as timestamptz) as "timestamp", cast("end" as timestamptz) as "end"
        )
        {%- if files.endswith('.parquet') %}
        from read_parquet({{ path }}, union_by_name = true)
        {%- else %}
        from read_json({{ path }}, format = 'newline_delimited', columns = {
            {%- for name in text_columns() + ['customer', 'product', 'event_id', 'timestamp', 'type', 'end'] %}
            "{{ name }}": 'varchar',
            {%- endfor %}
            "extra": 'json'
        })
        {%- endif %}
        qualify row_number() over (partition by event_id order by "end" desc) = 1;
    {%- endif %}
{% endmacro %}
