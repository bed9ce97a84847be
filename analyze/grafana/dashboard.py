"""`python -m analyze.grafana.dashboard` writes `dashboard.json` from the panels.

The builders are those of Grafana's own library, which needs Python 3.11.
"""

import json
from typing import Any

from grafana_foundation_sdk.builders import barchart, common, stat, table, timeseries
from grafana_foundation_sdk.builders import dashboard as builders
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.runtime import UnknownDataquery
from grafana_foundation_sdk.models import common as shapes
from grafana_foundation_sdk.models import dashboard as models

from analyze.grafana.macros import DASHBOARD
from analyze.grafana.panels import ROWS, Panel, query

POSTGRES = "grafana-postgresql-datasource"
SOURCE = models.DataSourceRef(type_val=POSTGRES, uid="${datasource}")


class Query:
    """The builder of a panel's query; the library has none for PostgreSQL."""

    def __init__(self, panel: Panel) -> None:
        """Take the panel."""
        self._panel = panel

    def build(self) -> Any:
        """Return the query as Grafana keeps it."""
        over_time = self._panel.kind in {"lines", "stacked"}
        return UnknownDataquery(
            {
                "refId": "A",
                "datasource": SOURCE.to_json(),
                "editorMode": "code",
                "rawQuery": True,
                "rawSql": self._panel.sql,
                "format": "time_series" if over_time else "table",
            }
        )


def of_kind(panel: Panel) -> Any:
    """Return the builder of a panel, with what only panels of its kind have."""
    match panel.kind:
        case "stat":
            made = stat.Panel().graph_mode(shapes.BigValueGraphMode.NONE).no_value("not known")
            made.reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))
        case "lines":
            # A day that is not known is a gap.
            made = timeseries.Panel().min(0).span_nulls(span_nulls=False)
        case "stacked":
            stacking = common.StackingConfig().mode(shapes.StackingMode.NORMAL)
            made = timeseries.Panel().draw_style(shapes.GraphDrawStyle.BARS)
            made.stacking(stacking).fill_opacity(80).line_width(0)
        case "bars":
            made = barchart.Panel().x_field(*panel.labels).fill_opacity(80)
            made.orientation(shapes.VizOrientation.HORIZONTAL)
        case "weeks":
            made = barchart.Panel().x_field(*panel.labels).fill_opacity(80)
            made.stacking(shapes.StackingMode.NORMAL)
        case "table":
            made = table.Panel().filterable(filterable=True).min_width(90)
        case "matrix":
            made = matrix(*panel.labels)
    return made


def matrix(row: str, column: str, cell: str) -> Any:
    """Return the builder of a table with coloured cells, from a query's rows of three columns."""
    grouping = models.DataTransformerConfig(
        id_val="groupingToMatrix",
        options={"rowField": row, "columnField": column, "valueField": cell, "emptyValue": "null"},
    )
    colours = builders.FieldColor().mode(models.FieldColorModeId.CONTINUOUS_BLUES)
    plain = models.DynamicConfigValue(id_val="custom.cellOptions", value={"type": "auto"})
    made = table.Panel().with_transformation(grouping).color_scheme(colours).min(0).decimals(0)
    made.cell_options(shapes.TableColoredBackgroundCellOptions())
    return made.override_by_field_type("string", [plain])


def builder_of(panel: Panel) -> Any:
    """Return the builder of a panel."""
    made = of_kind(panel).title(panel.title).datasource(SOURCE).with_target(Query(panel))
    made.unit(panel.unit).span(panel.width).height(panel.height)
    if panel.note:
        made.description(panel.note)
    for name, properties in panel.columns.items():
        items = properties.items()
        values = [models.DynamicConfigValue(id_val=key, value=value) for key, value in items]
        made.override_by_name(name, values)
    return made


def variable(name: str) -> Any:
    """Return the builder of a variable; a query of its name returns its values."""
    made = builders.QueryVariable(name).label(name.capitalize()).query(query(name))
    return made.datasource(SOURCE).refresh(models.VariableRefresh.ON_DASHBOARD_LOAD)


def dashboard() -> Any:
    """Return the dashboard."""
    source = builders.DatasourceVariable("datasource").label("Data source").type(POSTGRES)
    all_products = models.VariableOption(text=["All"], value=["$__all"])
    product = variable("product").multi(multi=True).include_all(include_all=True)
    made = (
        builders.Dashboard("Barchart usage events")
        .uid("barchart-events")
        .timezone("utc")
        .week_start("monday")
        .time("now-28d/d", "now-1d/d")
        .tooltip(models.DashboardCursorSync.CROSSHAIR)
        .variables([source, variable("customer"), product.current(all_products)])
    )
    number = 0
    for row in ROWS:
        number += 1
        heading = builders.Row(row.title).id(number)
        made.with_row(heading.repeat(row.repeat) if row.repeat else heading)
        for panel in row.panels:
            number += 1
            made.with_panel(builder_of(panel).id(number))
    return made.build()


def written(made: Any) -> str:
    """Return a dashboard as the text of a file."""
    return json.dumps(made, cls=JSONEncoder, indent=2) + "\n"


if __name__ == "__main__":
    DASHBOARD.write_text(written(dashboard()), encoding="utf-8")
