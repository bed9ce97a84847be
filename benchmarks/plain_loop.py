"""A hand-written loop without any framework: ``csv.reader`` in, msgspec out.

It makes the same records as the tap, without checks, STATE and resumption.
"""

import json
import sys
from datetime import datetime, timezone
from itertools import islice
from pathlib import Path

import msgspec

from benchmarks.csv_records import COLUMNS, records

TOGETHER = 1_000
"""Records written at once."""


def main(config: Path) -> None:
    """Write the Singer messages of the file that a configuration names."""
    out = sys.stdout.buffer
    encode = msgspec.json.Encoder().encode_into
    message = {
        "type": "SCHEMA",
        "stream": "events",
        "schema": {"properties": {name: {"type": ["string", "null"]} for name in COLUMNS}},
        "key_properties": ["event_id"],
    }
    out.write(msgspec.json.encode(message) + b"\n")
    extracted = datetime.now(timezone.utc).isoformat()
    events = records(json.loads(config.read_text()))
    buffer = bytearray()
    while some := list(islice(events, TOGETHER)):
        buffer.clear()
        for record in some:
            line = {
                "type": "RECORD",
                "stream": "events",
                "record": record,
                "time_extracted": extracted,
            }
            encode(line, buffer, len(buffer))
            buffer += b"\n"
        out.write(buffer)
    out.flush()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
