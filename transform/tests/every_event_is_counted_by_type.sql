{{ each_day_has_its_events(ref('barchart__events_by_type_and_day'), 'events') }}
