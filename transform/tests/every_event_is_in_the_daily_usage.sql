{{ each_day_has_its_events(ref('int_barchart__daily_usage'), 'events', 'event_id') }}
