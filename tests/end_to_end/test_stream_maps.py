"""What the extra `faker` adds to stream maps."""

from __future__ import annotations

from typing import TYPE_CHECKING

from barchart_events_emulator import Emulator
from tests.tap_runs import Tap, settings_of

if TYPE_CHECKING:
    from pathlib import Path


def test_a_stream_map_puts_made_up_names_in_the_place_of_users(tmp_path: Path) -> None:
    maps = {"events": {"user_id": "fake.user_name() if user_id else None"}}
    with Emulator(events_per_hour=50) as service:
        plain = Tap(tmp_path, settings_of(service)).end()
        more = {"stream_maps": maps, "faker_config": {"seed": 7, "locale": "en_US"}}
        masked, again = (Tap(tmp_path, settings_of(service, **more)).end() for _ in range(2))

    assert plain.code == masked.code == 0, masked.log
    users = {record["user_id"] for record in plain.records} - {None}
    made_up = [record["user_id"] for record in masked.records]
    assert users
    assert any(made_up)
    assert not users & set(made_up)
    assert made_up == [record["user_id"] for record in again.records], "the seed had no effect"
    assert [r["event_id"] for r in masked.records] == [r["event_id"] for r in plain.records]
