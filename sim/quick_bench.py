"""A small design in Icarus without Python in the loop: the fuzzer's bench, several times as fast as
the one with cocotb.

It checks what `autonba.sim.run.simulate` checks: each element of every layer, the results, each
commit of runs without stalls.
"""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import jinja2

from autonba.bundle import Bundle
from autonba.cost.schedule import simulate as predict
from autonba.errors import ToolError
from autonba.mapping import plan

from . import check
from .network_bench import words
from .run import rtl_files
from .testbench import testbench_text

LIMIT_SECONDS = 1800
SLACK = (
    1000  # cycles that a run without stalls may take beyond its schedule before it counts as halted
)
SLOWNESS = 12  # a run with stalls may take so many times its cycles


@dataclass(frozen=True, kw_only=True)
class Run:
    """Images `first` ... `first + count - 1`; pauses as (chance in thousandths, longest)."""

    number: int
    first: int
    count: int
    limit: int = 0
    source: tuple[int, int] = (0, 1)
    sink: tuple[int, int] = (0, 1)
    memory: int = 0  # whether DRAM stalls

    @property
    def stalls(self) -> bool:
        """Whether anything pauses."""
        return bool(self.source[0] or self.sink[0] or self.memory)


def runs(width: int) -> tuple[Run, ...]:
    """One image, three, and two with stalls: short ones everywhere, and long ones."""
    return (
        Run(number=1, first=0, count=1),
        Run(number=2, first=0, count=3),
        Run(number=100, first=1, count=1, source=(500, 2), sink=(500, 2), memory=1),
        Run(number=101, first=2, count=1, source=(20, 4 * width), sink=(100, 100), memory=1),
    )


def simulate(bundle: Bundle, seed: int) -> check.Comparison:
    """Simulate the bundle's RTL and compare it with golden model and schedule; raises ToolError
    where Icarus fails.
    """
    folder = bundle.path / "sim" / "quick"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    network = bundle.design.network
    mapped = plan(network, bundle.design.accelerator, bundle.weights)
    images = bundle.golden["images"]
    predicted = {run.number: predict(mapped, run.count) for run in runs(network.input.width)}
    planned = [
        Run(
            **{
                **run.__dict__,
                "limit": predicted[run.number].finish[-1] * (SLOWNESS if run.stalls else 1) + SLACK,
            }
        )
        for run in runs(network.input.width)
    ]
    sources, data = rtl_files(bundle.path / "rtl")
    for path in data:
        shutil.copyfile(path, folder / path.name)
    (folder / "images.hex").write_text(
        "".join(f"{word:x}\n" for image in images for word in words(image))
    )
    (folder / "testbench.v").write_text(testbench_text(mapped, netlist=False))
    (folder / "quick_bench.v").write_text(_bench_text(images.shape, planned, seed))
    library = (
        [Path(__file__).parent / "axi_memory.v"]
        if any(chunk.stream_words for chunk in mapped.chunks)
        else []
    )
    _run(
        [
            "iverilog",
            "-g2012",
            "-s",
            "quick_bench",
            "-o",
            "bench.vvp",
            "testbench.v",
            "quick_bench.v",
            *(str(path.resolve()) for path in (*sources, *library)),
        ],
        folder,
    )
    said = _run(["vvp", "bench.vvp"], folder).splitlines()
    found = check.Comparison()
    for line in said:
        if line.startswith("wrong: "):
            found.note(line.removeprefix("wrong: "))
    layers = check.compare_layers(
        folder,
        mapped,
        bundle.golden,
        {run.number: range(run.first, run.first + run.count) for run in planned},
    )
    found.images, found.elements = layers.images, layers.elements
    found.mismatches += layers.mismatches
    found.notes += layers.notes
    results = bundle.golden[network.layers[-1].name]
    for run in planned:
        check.compare_results(found, folder, run.number, results[run.first : run.first + run.count])
        if not run.stalls:
            schedule = predicted[run.number]
            check.compare_commits(found, folder, mapped, run.number, schedule.commits)
            check.compare_cycles(
                found, run.number, schedule.finish, check.finish_cycles(folder, run.number)
            )
    return found


def _bench_text(shape: tuple[int, ...], planned: list[Run], seed: int) -> str:
    images, channels, height, width = shape
    text = resources.files("autonba.sim").joinpath("quick_bench.v.j2").read_text()
    environment = jinja2.Environment(
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
        keep_trailing_newline=True,
    )
    return environment.from_string(text).render(
        pixels=height * width, images=images, pixel_bits=8 * channels, runs=planned, seed=seed
    )


def _run(command: list[str], folder: Path) -> str:
    """Output of a command; its first error line if it fails."""
    log = folder / f"{command[0]}.log"
    try:
        done = subprocess.run(
            command,
            cwd=folder,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
            timeout=LIMIT_SECONDS,
        )
    except FileNotFoundError:
        raise ToolError(
            f"{command[0]} is missing; install Icarus Verilog (Debian: apt install iverilog)"
        ) from None
    except subprocess.TimeoutExpired:
        raise ToolError(
            f"{command[0]} must end within {LIMIT_SECONDS} s, and it did not; see {folder}"
        ) from None
    log.write_text(done.stdout + done.stderr)
    if done.returncode:
        lines = [
            line for line in (done.stdout + done.stderr).splitlines() if "error" in line.lower()
        ] or ["no output"]
        raise ToolError(f"{command[0]} failed: {lines[0]}; the whole output is in {log}")
    return done.stdout
