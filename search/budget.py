"""How much work each phase of a search does, by effort and size of the data set."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from autonba.search.training.train import Recipe

from .settings import COUNTS, Effort, Settings


@dataclass(frozen=True, kw_only=True)
class Budget:
    """How much work each phase does.

    With `warm_start`, quantized training begins at the weights of the float training, at a smaller
    rate; else from scratch.
    """

    warm_epochs: int
    search_epochs: int
    samples: int  # accelerators drawn for each network that is priced
    float_epochs: int
    quantized_epochs: int
    search_images: int | None = None
    batch: int = 48
    interval: int = 1
    train: Recipe = field(default_factory=lambda: Recipe(epochs=1))
    fine: Recipe | None = None
    warm_start: bool = False


_COLOUR = Recipe(
    epochs=1, batch=128, optimizer="sgd", rate=0.2, warmup=0.2, decay=5e-4, smoothing=0.1
)
EFFORTS: Mapping[Effort, Budget] = {
    "full": Budget(
        warm_epochs=18,
        search_epochs=25,
        samples=1024,
        float_epochs=60,
        quantized_epochs=90,
    ),
    "quick": Budget(
        warm_epochs=6,
        search_epochs=4,
        samples=512,
        float_epochs=6,
        quantized_epochs=12,
    ),
}
# training images from which a data set gets a budget of its own: fewer epochs, larger batches
LARGE = 10_000
LARGE_EFFORTS: Mapping[Effort, Budget] = {
    "full": Budget(
        warm_epochs=3,
        search_epochs=8,
        samples=1024,
        float_epochs=60,
        quantized_epochs=12,
        batch=128,
        interval=2,
        train=_COLOUR,
        fine=replace(_COLOUR, rate=0.02, warmup=0.1),
        warm_start=True,
    ),
    "quick": Budget(
        warm_epochs=1,
        search_epochs=2,
        samples=512,
        float_epochs=3,
        quantized_epochs=2,
        batch=128,
        interval=2,
        search_images=6000,
        train=_COLOUR,
        fine=replace(_COLOUR, rate=0.02),
        warm_start=True,
    ),
}


def budget_for(settings: Settings, images: int) -> Budget:
    """The budget of the effort for so many training images, with what the settings name in place of
    its own.
    """
    table = LARGE_EFFORTS if images >= LARGE else EFFORTS
    given = {name: getattr(settings, name) for name in (*COUNTS, "search_images", "batch")}
    changes: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    return replace(table[settings.effort], **changes)
