"""Each write of each stage fails once: the bundle is then as it was or as it should become, and the
stage can be run again.
"""

from __future__ import annotations

import errno
import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from autonba import files
from autonba.bundle import Bundle, put_bundle
from autonba.errors import AutonbaError
from autonba.files import recover
from autonba.flows.run import prepare
from autonba.hwgen.generate import generate
from autonba.report import write_report
from autonba.search.run import run_search
from autonba.search.settings import Settings
from autonba.sim.example_designs import chip_design
from autonba.sim.run import simulate
from autonba.sim.shrink import Subject
from tests.bad_inputs import snapshot

IMAGES = 3
Stage = Callable[[Path], object]
QUICK_SEARCH = {
    "warm_epochs": 0,
    "search_epochs": 1,
    "float_epochs": 1,
    "quantized_epochs": 1,
    "search_images": 96,
    "effort": "quick",
}


def other_design() -> Subject:
    """As `chip_design`, with other weights."""
    subject = chip_design()
    return Subject(
        network=subject.network,
        accelerator=subject.accelerator,
        target=subject.target,
        seed=subject.seed + 1,
    )


def make_bundle(folder: Path) -> None:
    """A bundle with Verilog of an earlier one."""
    bundle = chip_design().write(folder, IMAGES)
    generate(bundle)
    write_report(bundle)
    prepare(bundle, "ecp5")
    rtl = folder.parent / "rtl"
    shutil.move(folder / "rtl", rtl)
    shutil.rmtree(folder / "flow")
    other_design().write(folder, IMAGES)
    shutil.move(rtl, folder / "rtl")


def write_other(folder: Path) -> None:
    """As a search does, which goes on after it has committed."""
    bundle = Bundle(folder.parents[1] / "source")
    with files.working(folder) as work:
        put_bundle(work, bundle.design, bundle.weights, bundle.golden)
        work.commit()


def generate_and_prepare(folder: Path) -> None:
    generate(Bundle(folder))
    prepare(Bundle(folder), "ecp5")


def generate_and_simulate(folder: Path) -> None:
    generate(Bundle(folder))
    simulate(Bundle(folder), simulator="icarus", images=1)


def search(folder: Path) -> None:
    # a dictionary of settings of several types
    run_search(Settings(out=str(folder), **QUICK_SEARCH), progress=False)  # type: ignore[arg-type]


STAGES: dict[str, Stage] = {
    "search's bundle": write_other,
    "gen-rtl": lambda folder: generate(Bundle(folder)),
    "report": lambda folder: write_report(Bundle(folder)),
    "flow": generate_and_prepare,
}


class _Fault:
    """Counts writes, and lets one of them fail when half of it is done."""

    def __init__(self, patch: pytest.MonkeyPatch, at: int, fail: Callable[[], object]) -> None:
        self.count, self.at, self.fail = 0, at, fail
        write, move = files._write_new, Path.replace

        def write_new(path: Path, data: bytes, *, sync: bool = False) -> None:
            if self.now():
                path.write_bytes(data[: len(data) // 2])
                self.fail()
            write(path, data, sync=sync)

        def replace(path: Path, target: Path) -> Path:
            if self.now():
                self.fail()
            return move(path, target)

        patch.setattr(files, "_write_new", write_new)
        patch.setattr(Path, "replace", replace)

    def now(self) -> bool:
        self.count += 1
        return self.count == self.at


def full() -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def forbidden() -> None:
    raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))


def killed() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def content(folder: Path) -> dict[str, str]:
    """What a user sees of a bundle."""
    return {
        name: digest
        for name, digest in snapshot(folder).items()
        if digest != "folder" and not name.startswith(("search/checkpoints/", "sim/"))
    }


def attempt(stage: Stage, folder: Path, at: int, fail: Callable[[], object]) -> int:
    """Run a stage in a process of its own, its write number `at` failing; how many were begun."""
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        code = 1
        try:
            with pytest.MonkeyPatch.context() as patch:
                fault = _Fault(patch, at, fail)
                try:
                    stage(folder)
                    code = 0
                except AutonbaError as error:
                    code = 3 if str(folder) in str(error) else 4
                os.write(writer, str(fault.count).encode())
        except BaseException:
            import traceback

            traceback.print_exc()
        finally:
            os._exit(code)
    os.close(writer)
    with os.fdopen(reader) as pipe:
        count = pipe.read()
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert code in ((-signal.SIGKILL,) if fail is killed else (0, 3)), code
    return int(count or 0)


def check(stage: Stage, folder: Path, at: int, fail: Callable[[], object]) -> None:
    """One fault: old or new, and the next run gives the new."""
    old = content(folder)
    attempt(stage, folder, at, fail)
    recover(folder)
    left = content(folder)
    assert not [name for name in left if files.ASIDE in name]
    stage(folder)
    new = content(folder)
    assert left in (old, new), sorted(set(left.items()) ^ set(old.items()))


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("faults") / "bundle"
    make_bundle(folder)
    return folder


def copy(whole: Path, place: Path) -> Path:
    if not (place.parent / "source").exists():
        chip_design().write(place.parent / "source", IMAGES)
    shutil.rmtree(place, ignore_errors=True)
    shutil.copytree(whole, place / "bundle")
    return place / "bundle"


@pytest.mark.parametrize(
    ("name", "fail"),
    [("search's bundle", full), ("gen-rtl", full), ("gen-rtl", killed), ("report", forbidden)],
)
def test_some_writes_of_each_stage(
    name: str, fail: Callable[[], object], whole: Path, tmp_path: Path
) -> None:
    count = attempt(STAGES[name], copy(whole, tmp_path / "all"), 10**9, full)
    for at in (1, count // 2, count):
        check(STAGES[name], copy(whole, tmp_path / "one"), at, fail)


@pytest.mark.slow
@pytest.mark.parametrize("fail", [full, forbidden, killed])
@pytest.mark.parametrize("name", [*STAGES, "sim"])
def test_every_write_of_each_stage(
    name: str, fail: Callable[[], object], whole: Path, tmp_path: Path
) -> None:
    stage = STAGES.get(name, generate_and_simulate)
    count = attempt(stage, copy(whole, tmp_path / "all"), 10**9, full)
    assert count > 2
    step = {"flow": 4, "sim": 8}.get(name, 1)
    for at in range(1, count + 1, step):
        if name in ("flow", "sim"):
            check_of_two(stage, whole, tmp_path, at, fail)
        else:
            check(stage, copy(whole, tmp_path / "one"), at, fail)


def check_of_two(
    stage: Stage, whole: Path, place: Path, at: int, fail: Callable[[], object]
) -> None:
    """As `check`, where a stage consists of two commands: what the first left may stand."""
    folder = copy(whole, place / "one")
    old = content(folder)
    attempt(stage, folder, at, fail)
    recover(folder)
    left = content(folder)
    generate(Bundle(folder))
    between = content(folder)
    stage(folder)
    assert left in (old, between, content(folder))


@pytest.mark.slow
@pytest.mark.parametrize("fail", [full, killed])
def test_writes_of_a_search(fail: Callable[[], object], whole: Path, tmp_path: Path) -> None:
    count = attempt(search, copy(whole, tmp_path / "all"), 10**9, full)
    assert count > 10
    for at in sorted({1, 3, count // 3, 2 * count // 3, count - 3, count}):
        folder = copy(whole, tmp_path / "one")
        old = content(folder)
        attempt(search, folder, at, fail)
        recover(folder)
        left = content(folder)
        search(folder)
        new = content(folder)
        for facts in (left, new):  # wall-clock seconds
            facts.pop("report/search_seconds.json", None)
        assert left in (old, new)


def test_a_full_disk_is_one_sentence(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = copy(whole, tmp_path)
    _Fault(monkeypatch, 5, full)
    with pytest.raises(AutonbaError, match=r"rtl/.*: the file cannot be written \(No space left"):
        generate(Bundle(folder))


def test_two_at_once_are_refused_and_a_crash_leaves_no_lock(whole: Path, tmp_path: Path) -> None:
    folder = copy(whole, tmp_path)
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        with files.working(folder):
            os.write(writer, b"x")
            signal.pause()
    os.read(reader, 1)
    with pytest.raises(AutonbaError, match="another one is at work"):
        generate(Bundle(folder))
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    generate(Bundle(folder))


def test_folders_that_only_look_like_ours_stay(whole: Path, tmp_path: Path) -> None:
    folder = copy(whole, tmp_path)
    mine = folder / f"{files.ASIDE}mine"
    mine.mkdir()
    (mine / "token").write_text("not mine")
    (mine / "thesis.txt").write_text("years of work")
    hostile = folder / f"{files.ASIDE}0123456789abcdef"
    hostile.mkdir()
    (hostile / "token").write_text("0123456789abcdef")
    (hostile / "x").write_text("1")
    journal = {"token": "0123456789abcdef", "write": {"../../x": "0"}, "remove": {"../y": "0"}}
    (hostile / "commit.json").write_bytes(files.json_bytes(journal))
    (tmp_path / "y").write_text("mine")
    generate(Bundle(folder))
    assert (mine / "thesis.txt").read_text() == "years of work"
    assert (tmp_path / "y").read_text() == "mine"
    assert not (tmp_path / "x").exists()
