"""The instance files of a deployment are the project's, with another storage and launcher."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
PROJECT = yaml.safe_load((ROOT / "dagster.yaml").read_text())


def read(path):
    return yaml.safe_load((ROOT / path).read_text())


@pytest.mark.parametrize(
    ("path", "own"),
    [
        ("deploy/dagster.postgres.yaml", {"storage"}),
        ("deploy/celery/dagster.celery.yaml", {"storage", "run_launcher"}),
    ],
)
def test_a_file_of_deploy_differs_from_the_projects_in_storage_and_launcher_alone(path, own):
    found = read(path)
    assert set(found) - set(PROJECT) == own
    assert {key: found[key] for key in PROJECT} == PROJECT, (
        f"{path}: copy what changed in dagster.yaml into it"
    )


@pytest.mark.parametrize(
    "path", ["deploy/dagster.postgres.yaml", "deploy/celery/dagster.celery.yaml"]
)
def test_their_comments_are_the_projects_too(path):
    text = (ROOT / path).read_text()
    body = (ROOT / "dagster.yaml").read_text().split("\n", 1)[1]
    assert body.rstrip() in text


def test_both_have_the_same_storage():
    paths = ("deploy/dagster.postgres.yaml", "deploy/celery/dagster.celery.yaml")
    assert read(paths[0])["storage"] == read(paths[1])["storage"]


def test_the_helm_values_say_what_the_project_says_but_for_the_size_of_a_cluster():
    values = read("deploy/kubernetes/values.yaml")
    more, daemon = values["additionalInstanceConfig"], values["dagsterDaemon"]
    assert {key: more[key] for key in more} == {key: PROJECT[key] for key in more}
    pools = values["concurrency"]["pools"]
    assert pools == {
        "defaultLimit": PROJECT["concurrency"]["pools"]["default_limit"],
        "granularity": PROJECT["concurrency"]["pools"]["granularity"],
    }
    assert daemon["runRetries"]["maxRetries"] == PROJECT["run_retries"]["max_retries"]
    logs = PROJECT["python_logs"]
    assert values["pythonLogs"] == {
        "pythonLogLevel": logs["python_log_level"],
        "managedPythonLoggers": logs["managed_python_loggers"],
    }
    assert values["telemetry"] == PROJECT["telemetry"]
