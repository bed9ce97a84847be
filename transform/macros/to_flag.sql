{# The service promises no spelling. What is none of the usual ones is null, never an error. #}
{% macro to_flag(text) -%}
    case
        when lower({{ text }}) in ('true', 't', 'yes', 'y', 'on', '1') then true
        when lower({{ text }}) in ('false', 'f', 'no', 'n', 'off', '0') then false
    end
{%- endmacro %}
