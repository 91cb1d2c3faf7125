"""Dividers of the ECP5 PLL (EHXPLLL) and of the 7-series MMCM for a wanted clock."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction

from autonba.errors import SpecError


@dataclass(frozen=True, kw_only=True)
class PllLimits:
    """Ranges of a PLL's dividers and of its frequencies in MHz, both ends included."""

    name: str
    input_divider: tuple[int, int]
    feedback_divider: tuple[int, int]
    output_divider: tuple[int, int]
    pfd: tuple[float, float]
    vco: tuple[float, float]
    output: tuple[float, float]


# Lattice FPGA-DS-02012 table 3.19 (sysCLOCK PLL timing); AMD DS181 table 36 (speed grade -1), UG472
# table 3-7.
EHXPLLL = PllLimits(
    name="ECP5 PLL",
    input_divider=(1, 128),
    feedback_divider=(1, 80),
    output_divider=(1, 128),
    pfd=(3.125, 400),
    vco=(400, 800),
    output=(3.125, 400),
)
MMCME2 = PllLimits(
    name="7-series MMCM",
    input_divider=(1, 106),
    feedback_divider=(2, 64),
    output_divider=(1, 128),
    pfd=(10, 450),
    vco=(600, 1200),
    output=(4.69, 800),
)


@dataclass(frozen=True, kw_only=True)
class PllDividers:
    """Dividers with the frequencies (MHz) that they make.

    ECP5, feedback from the output:   output = oscillator * feedback / input,
                                      vco = output * output_divider
    7-series, feedback from the VCO:  vco = oscillator * feedback / input,
                                      output = vco / output_divider
    """

    input_divider: int
    feedback_divider: int
    output_divider: int
    vco_mhz: Fraction
    output_mhz: Fraction


def ehxplll(oscillator_mhz: float, clock_mhz: float) -> PllDividers:
    """Dividers of EHXPLLL (FEEDBK_PATH "CLKOP") that make `clock_mhz` exactly; raises SpecError if
    none do.
    """
    limits = EHXPLLL

    def candidates() -> Iterator[PllDividers]:
        source = _exact(oscillator_mhz)
        for i in range(limits.input_divider[0], limits.input_divider[1] + 1):
            if not limits.pfd[0] <= source / i <= limits.pfd[1]:
                continue
            for f in range(limits.feedback_divider[0], limits.feedback_divider[1] + 1):
                out = source * f / i
                if not limits.output[0] <= out <= limits.output[1]:
                    continue
                middle = round(
                    Fraction(600) / out
                )  # the VCO jitters least in the middle of its range
                o = min(max(middle, limits.output_divider[0]), limits.output_divider[1])
                if limits.vco[0] <= out * o <= limits.vco[1]:
                    yield PllDividers(
                        input_divider=i,
                        feedback_divider=f,
                        output_divider=o,
                        vco_mhz=out * o,
                        output_mhz=out,
                    )

    return _choose(candidates(), limits, oscillator_mhz, clock_mhz)


def mmcme2(oscillator_mhz: float, clock_mhz: float) -> PllDividers:
    """Dividers of MMCME2_BASE (whole numbers only) that make `clock_mhz` exactly; raises SpecError
    if none do.
    """
    limits = MMCME2

    def candidates() -> Iterator[PllDividers]:
        source, wanted = _exact(oscillator_mhz), _exact(clock_mhz)
        for i in range(limits.input_divider[0], limits.input_divider[1] + 1):
            if not limits.pfd[0] <= source / i <= limits.pfd[1]:
                continue
            for f in range(limits.feedback_divider[0], limits.feedback_divider[1] + 1):
                vco = source * f / i
                if not limits.vco[0] <= vco <= limits.vco[1]:
                    continue
                o = min(
                    max(round(vco / wanted), limits.output_divider[0]), limits.output_divider[1]
                )
                if limits.output[0] <= vco / o <= limits.output[1]:
                    yield PllDividers(
                        input_divider=i,
                        feedback_divider=f,
                        output_divider=o,
                        vco_mhz=vco,
                        output_mhz=vco / o,
                    )

    return _choose(candidates(), limits, oscillator_mhz, clock_mhz)


def _exact(mhz: float) -> Fraction:
    return Fraction(repr(mhz)) if mhz > 0 else Fraction(1, 10**6)


def _choose(
    candidates: Iterator[PllDividers], limits: PllLimits, oscillator_mhz: float, clock_mhz: float
) -> PllDividers:
    wanted = _exact(clock_mhz)
    best = min(
        candidates,
        key=lambda d: (abs(d.output_mhz - wanted), d.input_divider, abs(d.vco_mhz - 600)),
    )
    if best.output_mhz != wanted:
        raise SpecError(
            f"target: clock_mhz must be a clock that the {limits.name} makes from"
            f" {oscillator_mhz:g} MHz, not {clock_mhz:g}; the nearest is"
            f" {float(best.output_mhz):.6g}"
        )
    return best
