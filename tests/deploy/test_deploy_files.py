"""Files of deploy/ against the schemas of those who read them, as far as that goes without them."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import compose_spec
import hcl2
import kubernetes_validate
import pytest
import yaml
from dagster_k8s.job import UserDefinedDagsterK8sConfig
from dockerfile_parse import DockerfileParser

from tickhandler_dagster.settings import Settings

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
SCRIPTS = [ROOT / ".ci" / "run", *sorted(DEPLOY.rglob("*.sh"))]
GIVEN = {"DAGSTER_POSTGRES_PASSWORD": "secret"}
# Read by the compose file, by Dagster and by the C library, and no settings of ours.
OTHERS = re.compile(
    r"DAGSTER_POSTGRES_\w+|CELERY_\w+|WORKER_\w+|LIVE_\w+|REDIS_\w+|SHARED_ADDRESS|MALLOC_\w+"
)


def read(path):
    return yaml.safe_load((DEPLOY / path).read_text())


def interpolated(text, given):
    """Variables as Compose puts them in: `${NAME:-default}` and `${NAME:?why}`."""

    def value(match):
        name, rest = match.groups()
        if name in given:
            return given[name]
        assert rest is not None, f"{name} has no default"
        assert not rest.startswith("?"), f"{name} is needed"
        return rest.removeprefix("-")

    return re.sub(r"(?<!\$)\$\{(\w+)(?::([-?][^}]*))?\}", value, text)


@pytest.fixture(scope="module")
def compose():
    text = interpolated((DEPLOY / "compose/compose.yaml").read_text(), GIVEN)
    found = yaml.safe_load(text)
    # Merge keys are resolved by then, as Compose does; raises where the specification is not kept.
    compose_spec.PyCompose.from_yaml(yaml.safe_dump(found))
    return found


def test_the_compose_file_keeps_the_specification_and_needs_one_password(compose):
    assert {name for name, one in compose["services"].items() if "profiles" not in one} == {
        *("postgres", "code", "marts", "webserver", "daemon", "metrics"),
    }
    with pytest.raises(AssertionError, match="DAGSTER_POSTGRES_PASSWORD is needed"):
        interpolated((DEPLOY / "compose/compose.yaml").read_text(), {})


def test_every_service_is_watched_started_again_and_open_to_this_machine_alone(compose):
    for name, service in compose["services"].items():
        assert service["restart"] == "unless-stopped", name
        assert service["healthcheck"]["test"], name
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", ())), name
        volumes = {volume.split(":")[0] for volume in service["volumes"]}
        named = {volume for volume in volumes if "/" not in volume}
        assert named <= set(compose["volumes"]), name


def test_files_that_compose_mounts_and_the_image_copies_are_there(compose):
    for service in compose["services"].values():
        for volume in service["volumes"]:
            source = volume.split(":")[0]
            if "/" in source:
                assert (DEPLOY / "compose" / source).is_file(), source
    allowed = {
        line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line[:1] == "!"
    }
    for one in DockerfileParser(path=str(DEPLOY / "Dockerfile")).structure:
        if one["instruction"] == "COPY" and "--from=" not in one["value"]:
            sources = [word for word in one["value"].split() if not word.startswith("--")][:-1]
            assert set(sources) <= allowed


def test_every_variable_of_a_deployment_is_a_setting(compose):
    settings = {name.upper() for name in Settings.model_fields}
    named = set(compose["services"]["live"]["environment"])
    config = next(
        one for one in read("kubernetes/platform.yaml")["items"] if one["kind"] == "ConfigMap"
    )
    named |= set(config["data"])
    for line in (DEPLOY / "compose/env.example").read_text().splitlines():
        if match := re.match(r"(?:# )?([A-Z_]+)=", line):
            named.add(match[1])
    assert {name for name in named - settings if not OTHERS.fullmatch(name)} == {"INSTANCE_FILE"}


def test_the_image_has_no_root_no_unpinned_package_and_a_health_check():
    parser = DockerfileParser(path=str(DEPLOY / "Dockerfile"))
    steps = [(one["instruction"], one["value"]) for one in parser.structure]
    instructions = [name for name, _ in steps]
    assert parser.is_multistage
    assert dict(steps)["USER"] == "10001:10001"
    assert instructions.index("HEALTHCHECK") > instructions.index("USER")
    installs = [value for _, value in steps if "pip install" in value]
    assert len(installs) == 2
    assert "--require-hashes" in installs[0]
    assert "--only-binary=:all:" in installs[0]
    assert "--no-deps" in installs[1]
    assert "--no-build-isolation" in installs[1]
    # What ends in the image is copied, so that neither ADD's downloads nor secrets come with it.
    assert not {"ADD", "VOLUME"} & set(instructions)
    assert not re.search(r"(?i)(_KEY|PASSWORD|TOKEN|SECRET)\s*=", parser.content)
    bases = [value for name, value in steps if name == "ARG"]
    assert all(re.search(r":\d[\d.]*(-slim|-bookworm){2}$", base) for base in bases)


def test_the_lock_of_the_image_is_made_by_the_projects_command():
    parser = DockerfileParser(path=str(DEPLOY / "Dockerfile"))
    lock = re.search(r"--requirement /build/(\S+)", parser.content)[1]
    assert f"COPY deploy/{lock} /build/{lock}" in parser.content
    assert f"-o deploy/{lock}" in (ROOT / "Makefile").read_text()


def objects():
    return read("kubernetes/platform.yaml")["items"]


@pytest.mark.parametrize(
    "item", objects(), ids=lambda item: f"{item['kind']}-{item['metadata']['name']}"
)
def test_every_object_keeps_the_schema_of_kubernetes_without_a_field_it_does_not_know(item):
    version = kubernetes_validate.latest_version()
    kubernetes_validate.validate(item, version, strict=True)


def containers():
    for item in objects():
        template = item.get("spec", {}).get("template")
        if template:
            yield from ((template["spec"], one) for one in template["spec"]["containers"])


def test_no_container_is_root_and_each_has_limits_and_three_probes():
    found = list(containers())
    assert len(found) == 2
    for pod, container in found:
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert container["securityContext"]["allowPrivilegeEscalation"] is False
        assert container["resources"]["limits"]["memory"]
        assert {"startupProbe", "readinessProbe", "livenessProbe"} <= set(container)


def test_what_the_chart_is_given_as_kubernetes_objects_keeps_their_schemas():
    values = read("kubernetes/values.yaml")
    launcher = values["runLauncher"]["config"]["k8sRunLauncher"]
    deployments = values["dagster-user-deployments"]["deployments"]
    parts = [values["dagsterWebserver"], values["dagsterDaemon"], *deployments]
    run = launcher["runK8sConfig"]
    pod = {
        **run["podSpecConfig"],
        "containers": [
            {"name": "run", "resources": launcher["resources"], **run["containerConfig"]}
        ],
    }
    pods = [pod]
    for part in parts:
        probes = {
            name: {key: value for key, value in part[name].items() if key != "enabled"}
            for name in ("readinessProbe", "livenessProbe", "startupProbe")
            if name in part
        }
        container = {
            "name": "one",
            "image": f"{part['image']['repository']}:{part['image']['tag']}",
            "imagePullPolicy": part["image"]["pullPolicy"],
            "resources": part["resources"],
            "securityContext": part["securityContext"],
            "env": part.get("env", []),
            **probes,
        }
        pods.append({"securityContext": part["podSecurityContext"], "containers": [container]})
    for spec in pods:
        manifest = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": "one"},
            "spec": spec,
        }
        kubernetes_validate.validate(manifest, kubernetes_validate.latest_version(), strict=True)
    # Dagster's own reading of the same, which refuses names it does not know.
    UserDefinedDagsterK8sConfig(
        container_config=run["containerConfig"],
        pod_spec_config=run["podSpecConfig"],
        job_spec_config=run["jobSpecConfig"],
    )


def test_threads_of_what_runs_for_long_share_a_heap_wherever_it_runs(compose):
    variables = read("kubernetes/values.yaml")["dagsterDaemon"]["env"]
    assert {one["name"]: one["value"] for one in variables} == {"MALLOC_ARENA_MAX": "1"}
    for service in ("daemon", "live"):
        assert compose["services"][service]["environment"]["MALLOC_ARENA_MAX"] == "1"
    assert (
        "Environment=MALLOC_ARENA_MAX=1\n"
        in (DEPLOY / "streaming/tickhandler-live.service").read_text()
    )


def test_every_image_and_identity_of_kubernetes_is_the_same_one():
    values = read("kubernetes/values.yaml")
    image = values["dagsterWebserver"]["image"]
    name = f"{image['repository']}:{image['tag']}"
    assert {container["image"] for _, container in containers()} == {name}
    assert values["global"]["serviceAccountName"] == values["serviceAccount"]["name"]
    accounts = [item for item in objects() if item["kind"] == "ServiceAccount"]
    assert [one["metadata"]["name"] for one in accounts] == [values["serviceAccount"]["name"]]


def terraform():
    found = {}
    for file in sorted((DEPLOY / "terraform").glob("*.tf")):
        with file.open() as text:
            for block in hcl2.load(text).get("resource", ()):
                for kind, named in block.items():
                    for name, body in named.items():
                        found[kind.strip('"'), name.strip('"')] = body
    return found


def test_the_identity_has_exactly_the_rights_that_are_explained():
    rights = {
        (kind, body["role"].strip('"'))
        for (kind, name), body in terraform().items()
        if kind.endswith("_iam_member") and name != "nodes"
    }
    assert rights == {
        ("google_storage_bucket_iam_member", "roles/storage.objectUser"),
        ("google_bigquery_dataset_iam_member", "roles/bigquery.dataEditor"),
        ("google_project_iam_member", "roles/bigquery.jobUser"),
        ("google_project_iam_member", "roles/bigquery.readSessionUser"),
        ("google_secret_manager_secret_iam_member", "roles/secretmanager.secretAccessor"),
        ("google_service_account_iam_member", "roles/iam.workloadIdentityUser"),
    }
    text = (DEPLOY / "terraform/rights.tf").read_text()
    assert not re.search(r"roles/(owner|editor|\w+\.admin)|allUsers|_iam_(binding|policy)", text)
    # A reason stands above each.
    for block in re.finditer(r'(?m)^resource "\w+_iam_member"', text):
        assert text[: block.start()].rstrip().splitlines()[-1].startswith("# ")
    assert not any(kind == "google_service_account_key" for kind, _ in terraform())


def test_the_cluster_reaches_the_vendor_from_one_address():
    nat = terraform()["google_compute_router_nat", "egress"]
    assert nat["nat_ip_allocate_option"].strip('"') == "MANUAL_ONLY"
    assert len(nat["nat_ips"]) == 1


def test_the_bucket_gives_up_parts_of_uploads_after_a_day_and_is_open_to_nobody():
    bucket = terraform()["google_storage_bucket", "lake"]
    text = (DEPLOY / "terraform/main.tf").read_text()
    assert re.search(
        r"condition \{ age = 1 \}\s+action \{ type = \"AbortIncompleteMultipartUpload", text
    )
    assert bucket["uniform_bucket_level_access"] is True
    assert bucket["public_access_prevention"].strip('"') == "enforced"
    assert bucket["force_destroy"] is False


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda file: file.name)
def test_shell_scripts_have_nothing_that_shellcheck_warns_of(script):
    program = shutil.which("shellcheck", path=str(Path(sys.executable).parent))
    assert program
    told = subprocess.run([program, str(script)], capture_output=True, text=True, check=False)
    assert told.returncode == 0, told.stdout
