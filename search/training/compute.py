"""Where and how precisely a network is computed: device, mixed precision, threads.

Mixed precision makes convolutions bfloat16 or float16; weights, quantizers, statistics and losses
stay in float32.
"""

from __future__ import annotations

import ctypes
import platform
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from autonba.errors import SpecError
from autonba.network import Layer

from . import distributed

DeviceName = Literal["auto", "cpu", "cuda"]
Precision = Literal["float32", "bf16", "fp16"]
_DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # names of mallopt's parameters
Module = TypeVar("Module", bound=nn.Module)


@dataclass(frozen=True, kw_only=True)
class Compute:
    """`device` 'auto' is CUDA where there is one. float16 needs CUDA; its losses are scaled against
    underflow.

    `threads` None leaves torch's number: sums over several threads are the same on every run of one
    machine, but another number of threads may give other last bits.
    """

    device: DeviceName = "cpu"
    precision: Precision = "float32"
    threads: int | None = 1
    scaler: torch.amp.GradScaler = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.device not in get_args(DeviceName):
            raise SpecError(f"device must be auto, cpu or cuda, not {self.device!r}")
        if self.precision not in get_args(Precision):
            raise SpecError(f"precision must be float32, bf16 or fp16, not {self.precision!r}")
        if self.threads is not None and not 1 <= self.threads <= 1024:
            raise SpecError(f"threads must be 1 to 1024, not {self.threads!r}")
        if self.device == "cuda" and not torch.cuda.is_available():
            raise SpecError(
                "device must be cpu or auto where there is no CUDA, not 'cuda'; this PyTorch finds"
                " no GPU"
            )
        if self.precision == "fp16" and self.target.type != "cuda":
            raise SpecError("precision must be float32 or bf16 on a CPU, not 'fp16'")
        object.__setattr__(
            self, "scaler", torch.amp.GradScaler(self.target.type, enabled=self.precision == "fp16")
        )

    @property
    def target(self) -> torch.device:
        """The device that is computed on: this process's GPU, or the CPU."""
        if self.device == "cpu" or not torch.cuda.is_available():
            return torch.device("cpu")
        return torch.device("cuda", torch.cuda.current_device())

    @contextmanager
    def session(self) -> Iterator[None]:
        """Holds the number of threads for as long as it lasts; freed maps stay with the process,
        ready for the next step.
        """
        keep_memory()
        before = torch.get_num_threads()
        if self.threads is not None:
            torch.set_num_threads(self.threads)
        try:
            yield
        finally:
            torch.set_num_threads(before)

    def autocast(self, *, exact: bool = False) -> AbstractContextManager[object]:
        """Context of a forward pass and its loss; `exact` in float32 whatever the precision."""
        return torch.autocast(
            self.target.type,
            dtype=_DTYPES.get(self.precision, torch.bfloat16),
            enabled=self.precision != "float32" and not exact,
        )

    def place(self, model: Module) -> Module:
        """`model` on the device, convolution weights in channels-last order."""
        return model.to(self.target, memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]

    def step(
        self,
        loss: Tensor,
        *optimizers: torch.optim.Optimizer,
        clip: float | None = None,
    ) -> None:
        """One step of each optimizer down `loss`: zero gradients, backward, average over processes,
        clip, update.

        `clip` bounds the norm of the gradients of the last optimizer's parameters.
        """
        for optimizer in optimizers:
            optimizer.zero_grad()
        torch.autograd.backward([self.scaler.scale(loss)])
        parameters: list[nn.Parameter] = []
        for optimizer in optimizers:
            parameters = [p for group in optimizer.param_groups for p in group["params"]]
            distributed.average_gradients(parameters)
            self.scaler.unscale_(optimizer)
        if clip is not None:
            nn.utils.clip_grad_norm_(parameters, clip)
        for optimizer in optimizers:
            self.scaler.step(optimizer)
        self.scaler.update()

    def state_dict(self) -> dict[str, Any]:
        """The loss scale, for a checkpoint."""
        return dict(self.scaler.state_dict())

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Inverse of `state_dict`."""
        if state:
            self.scaler.load_state_dict(state)


def keep_memory() -> None:
    """Make glibc's malloc reuse large blocks instead of giving them back to the system: a step
    takes up to half the time.
    """
    if platform.libc_ver()[0] != "glibc":
        return
    mallopt = ctypes.CDLL(None).mallopt
    if not mallopt(_MMAP_THRESHOLD, 1 << 30):
        mallopt(_MMAP_THRESHOLD, 1 << 25)  # the most that older versions take
    mallopt(_TRIM_THRESHOLD, (1 << 31) - 1)


def convolve(x: Tensor, w: Tensor, bias: Tensor | None, layer: Layer) -> Tensor:
    """`layer`'s convolution of `x` (N, C, H, W), in half precision under autocast except where that
    is many times slower.
    """
    slow = layer.groups > 1 and (
        max(layer.kernel) > 3 or max(layer.stride) > 1
    )  # bfloat16 gradients on a CPU, torch 2.13
    if slow and x.device.type == "cpu" and torch.is_autocast_enabled("cpu"):
        with torch.autocast("cpu", enabled=False):
            return F.conv2d(x.float(), w, bias, layer.stride, layer.padding, groups=layer.groups)
    return F.conv2d(x, w, bias, layer.stride, layer.padding, groups=layer.groups)
