"""Files about the project agree with one another."""

from __future__ import annotations

import re
import subprocess
import tomllib
from pathlib import Path

import pytest

from autonba import __version__

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
RELEASE = ROOT / ".ci" / "release"


def test_the_version_is_written_in_one_place_and_cited() -> None:
    assert "version" not in PROJECT["project"]
    assert PROJECT["project"]["dynamic"] == ["version"]
    assert PROJECT["tool"]["setuptools"]["dynamic"] == {"version": {"attr": "autonba.__version__"}}
    cited = re.findall(r"^version: (\S+)$", (ROOT / "CITATION.cff").read_text(), re.MULTILINE)
    assert cited == [__version__]
    assert f"\n## {__version__}\n" in (ROOT / "CHANGELOG.md").read_text()


def test_the_licence_is_the_same_everywhere() -> None:
    licence = PROJECT["project"]["license"]
    assert f"\nlicense: {licence}\n" in (ROOT / "CITATION.cff").read_text()


def test_every_dependency_has_its_version_in_the_constraints() -> None:
    def normal(name: str) -> str:
        return re.sub(r"[-_.]+", "-", name).lower()

    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pinned = {normal(line.partition("==")[0]) for line in lines if "==" in line}
    extras = PROJECT["project"]["optional-dependencies"]
    wanted = [*PROJECT["project"]["dependencies"], *(d for e in extras.values() for d in e)]
    names = {normal(re.match(r"[\w.-]+", d)[0]) for d in wanted}  # type: ignore[index]
    assert names - {"autonba"} <= pinned


def test_files_for_the_host_are_yaml_and_call_the_scripts() -> None:
    yaml = pytest.importorskip("yaml", reason="the extra `docs` is not installed")
    folder = ROOT / ".github"
    for path in [*folder.rglob("*.yml"), ROOT / ".pre-commit-config.yaml", ROOT / "CITATION.cff"]:
        assert isinstance(yaml.safe_load(path.read_text()), dict), path.name
    for name, command in (("ci", ".ci/run"), ("docs", "make docs"), ("release", "make release")):
        workflow = yaml.safe_load((folder / "workflows" / f"{name}.yml").read_text())
        steps = [step for job in workflow["jobs"].values() for step in job["steps"]]
        assert command in [step.get("run") for step in steps]
    bug = (folder / "ISSUE_TEMPLATE" / "bug.yml").read_text()
    assert all(word in bug for word in ("autonba doctor", "design.json", "Command"))


def release(checkout: Path) -> subprocess.CompletedProcess[str]:
    (checkout / ".ci").mkdir(exist_ok=True)
    script = checkout / ".ci" / "release"
    script.write_bytes(RELEASE.read_bytes())
    script.chmod(0o755)
    return subprocess.run([script, "false"], cwd=checkout, capture_output=True, text=True)


def test_a_release_is_of_a_commit(tmp_path: Path) -> None:
    run = release(tmp_path)
    assert run.returncode == 2
    assert "not a git checkout" in run.stderr
    subprocess.run(["git", "init", "--quiet"], cwd=tmp_path, check=True)
    run = release(tmp_path)
    assert run.returncode == 2
    assert "not committed" in run.stderr


def test_every_package_is_in_the_wheel() -> None:
    """A package that pyproject.toml does not list is missing for whoever does not install it from
    a clone.
    """
    folders = ("autonba", "search", "hwgen", "sim", "flows")
    found = {
        path.parent.relative_to(ROOT).as_posix().replace("/", ".")
        for name in folders
        for path in (ROOT / name).rglob("__init__.py")
    }
    there = {n if n.split(".")[0] == "autonba" else f"autonba.{n}" for n in found}
    assert there <= set(PROJECT["tool"]["setuptools"]["packages"])
