"""The engines by name, and the one that combines them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from autonba.errors import SpecError
from autonba.search.accelerator.accelerator_problem import AcceleratorProblem
from autonba.search.accelerator.problem import Found
from autonba.search.accelerator.record import Record
from autonba.search.accelerator.stages.proof import Bound
from autonba.search.accelerator.stages.tables import StageTables

from .annealing import Annealing
from .descent import Descent
from .differentiable import Differentiable
from .engine import Engine
from .evolutionary import Evolutionary
from .staged import Staged
from .uniform import Uniform

EVALUATIONS = 300  # for each design factor
PROOF_SECONDS = 30.0  # of CPU time, for the proof of a staged space; none is sought with 0
PROOF_SHARE = 0.2  # of the time of auto, where it has a budget

SAMPLING: Mapping[str, Callable[..., Engine]] = {
    "das": Differentiable,
    "random": Uniform,
    "evolutionary": Evolutionary,
    "annealing": Annealing,
}
ENGINES = ("auto", *SAMPLING, "exact")


def check(engine: str) -> str:
    """`engine`, if there is one of that name; raises SpecError."""
    if engine not in ENGINES:
        raise SpecError(f"engine must be one of {', '.join(ENGINES)}, not {engine!r}")
    return engine


@dataclass(frozen=True, kw_only=True)
class Result:
    """What an engine found, and what is proven of the staged space, where that was asked for."""

    found: Found
    bound: Bound | None


def run(
    problem: AcceleratorProblem,
    engine: str,
    *,
    seed: int,
    seconds: float | None = None,
    evaluations: int | None = None,
    tables: StageTables | None = None,
    moves: int | None = None,
) -> Result:
    """Run one of ENGINES.

    auto: the staged spaces, each with a proof where one is found in time; then annealing from the
    best, and descent from what that leads to. exact: the staged spaces alone. `seconds` of CPU time
    bound all of it; `evaluations` those that draw candidates. `tables` are those of
    the staged space that streams nothing, where they are known.
    """
    if check(engine) in SAMPLING:
        budget = evaluations or (None if seconds else EVALUATIONS * len(problem.sizes))
        record = Record(problem, evaluations=budget, seconds=seconds)
        return Result(found=SAMPLING[engine](record, seed=seed).run(), bound=None)
    record = Record(problem, evaluations=None, seconds=seconds)
    proof = PROOF_SECONDS if seconds is None else seconds
    if seconds is not None and engine == "auto":
        proof *= PROOF_SHARE
    staged = Staged(record, seed=seed, proofs=proof > 0, seconds=proof, tables=tables)
    staged.run()
    if engine == "auto":
        Annealing(record, seed=seed, moves=moves).run()
        if record.feasible:
            Descent(record, seed=seed, starts=record.best[None]).run()
    return Result(found=record.found(), bound=staged.bound)
