"""Airbyte's CSV decoder and message writer, in an environment of their own.

What its connector kit does with a downloaded file, and no more: the raw columns, no key, no
types, no state. The file needs a header.
"""

from __future__ import annotations

import sys
from pathlib import Path

# They are installed in the environment that runs this module, not in the one that checks it.
from airbyte_cdk.entrypoint import (  # type: ignore[import-not-found,unused-ignore]
    AirbyteEntrypoint,
)
from airbyte_cdk.sources.declarative.decoders.composite_raw_decoder import (  # type: ignore[import-not-found,unused-ignore]
    CsvParser,
)
from airbyte_cdk.sources.utils.record_helper import (  # type: ignore[import-not-found,unused-ignore]
    stream_data_to_airbyte_message,
)

with Path(sys.argv[1]).open("rb") as file:
    for record in CsvParser(delimiter="|").parse(file):
        message = stream_data_to_airbyte_message("events", record)
        sys.stdout.write(f"{AirbyteEntrypoint.airbyte_message_to_string(message)}\n")
