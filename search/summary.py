"""A finished search in a few lines, for who waited for it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

SIGMAS = 2.0  # by how many deviations an accuracy must be above chance


def lines(report: Mapping[str, Any]) -> list[str]:
    """Accuracy, speed and resources of report/search.json, and what is wrong with them."""
    accuracy, found, hertz = report["accuracy"], report["accelerator"], report["clock_mhz"] * 1e6
    shares = ", ".join(
        f"{name} {100 * accuracy[key]:.2f} %"
        for name, key in (
            ("float", "float"),
            ("fake-quantized", "quantized"),
            ("integer", "integer"),
        )
    )
    used = ", ".join(
        f"{amount:g} of {report['limits'][name]:g} {name}"
        if name in report["limits"]
        else f"{amount:g} {name}"
        for name, amount in found["resources"].items()
    )
    told = [
        f"accuracy   {shares} of {accuracy['images']} test images",
        f"speed      {hertz / found['cycles_per_image']:.0f} images/s"
        f" at {report['clock_mhz']:g} MHz"
        f" ({found['cycles_per_image']:g} cycles an image), first result after"
        f" {1e6 * found['cycles_first_image'] / hertz:.1f} us",
        f"resources  {used} (model; `autonba flow` measures)",
    ]
    chance, images = report["chance"], accuracy["images"]
    if accuracy["integer"] <= chance + SIGMAS * math.sqrt(chance * (1 - chance) / images):
        told.append(
            f"warning: {100 * accuracy['integer']:.2f} % is no better than naming the most frequent"
            f" class every time, {100 * chance:.2f} %; check the labels, give more epochs, or a"
            " larger space"
        )
    return told
