{{ each_day_has_its_events(ref('int_barchart__user_type_days'), 'events', 'event_id') }}
