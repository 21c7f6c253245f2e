"""The code location loads as its server loads it, which asks more than a single job does."""

import pytest

from tickhandler_dagster.definitions import build_definitions
from tickhandler_dagster.settings import Settings


@pytest.fixture(scope="module")
def repository():
    return build_definitions(Settings()).get_repository_def()


def test_every_definition_of_the_server_can_be_built_beside_the_others(repository):
    repository.load_all_definitions()
    assert "instruments" in {key.path[0] for key in repository.asset_graph.get_all_asset_keys()}


def test_no_job_has_the_name_of_an_asset(repository):
    """Dagster takes a job and an asset's op of one name for two definitions of it."""
    assets = {key.to_python_identifier() for key in repository.asset_graph.get_all_asset_keys()}
    assert not assets & set(repository.job_names)


def test_everything_on_the_page_says_what_it_is(repository):
    graph = repository.asset_graph
    assert all(graph.get(key).description for key in graph.get_all_asset_keys())
    assert {graph.get(key).group_name for key in graph.get_all_asset_keys()}.isdisjoint({"default"})
    automations = [*repository.schedule_defs, *repository.sensor_defs]
    assert all(one.description for one in automations)
    jobs = [name for name in repository.job_names if not name.startswith("__")]
    assert all(repository.get_job(name).description for name in jobs)
