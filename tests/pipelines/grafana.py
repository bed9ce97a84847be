"""The shapes that the panels of the Grafana dashboard need."""

from collections.abc import Mapping, Sequence
from typing import Any

from tests.pipelines.marts import Row


def check_shape(panel: Mapping[str, Any], rows: Sequence[Row]) -> None:
    """Check that a query's rows are what a panel can draw."""
    columns = set(rows[0])
    named = {one["matcher"]["options"] for one in panel["fieldConfig"]["overrides"]}
    assert named - {"string"} <= columns
    keys = labels(panel) & columns
    texts = [tuple(row[key] for key in sorted(keys, reverse=True)) for row in rows]
    assert len(set(texts)) == len(rows), "a row is there twice"
    if "time" in keys:
        assert texts == sorted(texts), "long rows become series if they are in order of time"
        assert all(len(str(row["time"])) == 10 for row in rows), "neither a day nor seconds"
    if panel["type"] != "table" or "transformations" in panel:
        numbers = [row[column] for row in rows for column in columns - keys]
        assert numbers
        assert all(value is None or type(value) in {int, float} for value in numbers)


def labels(panel: Mapping[str, Any]) -> set[str]:
    """Return the columns that a panel takes its labels from; the others are numbers."""
    if panel["targets"][0]["format"] == "time_series":
        return {"time", "metric"}
    if "transformations" in panel:
        (matrix,) = panel["transformations"]
        return {matrix["options"]["rowField"], matrix["options"]["columnField"]}
    if panel["type"] == "table":
        return {"Product", "Type", "Symbol", "Day", "Subject", "Action"}
    return {panel["options"]["xField"]} if panel["type"] == "barchart" else set()
