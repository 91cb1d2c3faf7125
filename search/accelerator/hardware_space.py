"""Design factors of the accelerator that a search space names."""

from __future__ import annotations

from dataclasses import dataclass

from autonba.accelerator import MAX_LANES
from autonba.errors import SpecError


@dataclass(frozen=True, kw_only=True)
class HardwareSpace:
    """Design factors of the accelerator: `chunks` at most, lanes to choose from, `multipliers` at
    most.
    """

    chunks: int
    lanes: tuple[int, ...]
    multipliers: int

    def __post_init__(self) -> None:
        if not 1 <= self.chunks <= 8:
            raise SpecError(f"hardware.chunks must be 1 to 8, not {self.chunks!r}")
        if (
            not self.lanes
            or any(not 1 <= n <= MAX_LANES or n & (n - 1) for n in self.lanes)
            or 1 not in self.lanes
        ):
            raise SpecError(
                f"hardware.lanes must be powers of two up to {MAX_LANES}, 1 among them, not"
                f" {list(self.lanes)}"
            )
        if self.multipliers < 1:
            raise SpecError(f"hardware.multipliers must be at least 1, not {self.multipliers!r}")
