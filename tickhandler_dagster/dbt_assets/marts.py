"""What Dagster makes of dbt's manifest: keys, groups, partitions, edges, metadata.

What belongs here: the translation. What does not: running dbt (`invocation.py`).

Views of the project are not assets: they hold nothing, a partition of theirs would have no colour,
and without them a mart follows the tables that it is made of, day by day. dbt makes them on its
way.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import dagster as dg
from dagster_dbt import DagsterDbtTranslator
from dagster_dbt import DbtProject as DagsterDbtProject

from tickhandler_dagster.assets.warehouse import warehouse_key
from tickhandler_dagster.dbt_assets.lineage import ColumnLineage, is_view, is_view_id
from tickhandler_dagster.market.mft.windows import Windows
from tickhandler_dagster.market.warehouse_tables import warehouse_tables

GROUP = "marts"
OWNERS = ("team:data-engineering",)
_BY_DAY = "incremental"


def is_by_day(node: Mapping[str, Any]) -> bool:
    """A run makes the days it is asked for; other marts it makes whole."""
    return bool(node["config"].get("materialized") == _BY_DAY)


class MartsTranslator(DagsterDbtTranslator):
    """Marts under `marts/`, sources under the keys of the platform's own assets.

    Args:
        days: The days of the platform's grid.
        windows: Those of the features in the warehouse.
    """

    def __init__(self, days: dg.DailyPartitionsDefinition, windows: Windows) -> None:
        super().__init__()
        self._days = days
        self._tables = {item.name: warehouse_key(item) for item in warehouse_tables(windows)}

    def get_asset_key(self, dbt_resource_props: Mapping[str, Any]) -> dg.AssetKey:
        """`warehouse/<table>` of the other location, or `marts/<model>`."""
        name = dbt_resource_props["name"]
        is_source = dbt_resource_props["resource_type"] == "source"
        return self._tables[name] if is_source else dg.AssetKey([GROUP, name])

    def get_group_name(
        self,
        dbt_resource_props: Mapping[str, Any],  # noqa: ARG002  (the signature is given)
    ) -> str:
        """All marts in one."""
        return GROUP

    def get_owners(self, dbt_resource_props: Mapping[str, Any]) -> tuple[str, ...]:
        """Who the project names for a model, else whoever keeps the platform."""
        return tuple(super().get_owners(dbt_resource_props) or OWNERS)

    def get_description(self, dbt_resource_props: Mapping[str, Any]) -> str:
        """What the project says; the SQL is in its files."""
        return str(dbt_resource_props["description"])

    def get_partitions_def(
        self, dbt_resource_props: Mapping[str, Any]
    ) -> dg.PartitionsDefinition | None:
        """A day, where a run makes single days."""
        return self._days if is_by_day(dbt_resource_props) else None

    def get_asset_spec(
        self, manifest: Mapping[str, Any], unique_id: str, project: DagsterDbtProject | None
    ) -> dg.AssetSpec:
        """The spec with edges over views to what they select from."""
        spec = super().get_asset_spec(manifest, unique_id, project)
        parents = manifest["parent_map"].get(unique_id, [])
        if not any(is_view_id(parent, manifest) for parent in parents):
            return spec
        deps = {dep.asset_key: dep for dep in self._deps(manifest, unique_id, project)}
        return spec.replace_attributes(deps=[deps[key] for key in sorted(deps)])

    def _deps(
        self, manifest: Mapping[str, Any], unique_id: str, project: DagsterDbtProject | None
    ) -> Iterator[dg.AssetDep]:
        for dep in super().get_asset_spec(manifest, unique_id, project).deps:
            view = self.views(manifest).get(dep.asset_key)
            if view is None:
                yield dep
            else:
                yield from self._deps(manifest, view, project)

    def views(self, manifest: Mapping[str, Any]) -> dict[dg.AssetKey, str]:
        """The project's views by the keys that they would have, and their ids in dbt."""
        return {
            self.get_asset_key(node): unique_id
            for unique_id, node in manifest["nodes"].items()
            if node["resource_type"] == "model" and is_view(node)
        }

    def get_asset_check_spec(
        self,
        asset_spec: dg.AssetSpec,
        manifest: Mapping[str, Any],
        unique_id: str,
        project: DagsterDbtProject | None,
    ) -> dg.AssetCheckSpec | None:
        """A dbt test as a check of its mart, without edges to views."""
        check = super().get_asset_check_spec(asset_spec, manifest, unique_id, project)
        if check is None:
            return None
        views = self.views(manifest)
        others = [dep for dep in check.additional_deps if dep.asset_key not in views]
        return check._replace(additional_deps=others)


def lineage_metadata(
    unique_id: str, lineage: ColumnLineage, manifest: Mapping[str, Any], keys: MartsTranslator
) -> dict[str, dg.TableColumnLineage]:
    """Metadata of a mart's partition that draws its columns' origins."""
    nodes = manifest["nodes"] | manifest["sources"]
    return {
        "dagster/column_lineage": dg.TableColumnLineage(
            {
                column: [
                    dg.TableColumnDep(keys.get_asset_key(nodes[parent]), name)
                    for parent, name in origins
                ]
                for column, origins in lineage[unique_id].items()
            }
        )
    }
