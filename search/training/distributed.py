"""Data-parallel search and training under `torchrun`: every process works on its share of each
batch.

Every process draws the same random numbers, from the same seed, for the whole (global) batch and
then computes its own share of it; batch statistics are those of the global batch; gradients are
averaged. So P processes take the steps of one, up to the order of sums. Only the main process (rank
0) writes files. With one process every function here does nothing.
Suffixes: N images, C channels, H rows, W columns.
"""

from __future__ import annotations

import atexit
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, TypeVar, cast

import torch
import torch.distributed as dist
from torch import Tensor, nn

from autonba.errors import SpecError

T = TypeVar("T")


@contextmanager
def session() -> Iterator[None]:
    """Joins the processes that `torchrun` started (environment WORLD_SIZE, RANK, …), and stays with
    them until this one ends.

    gloo carries tensors of the CPU, nccl those of CUDA, where this process takes the GPU
    LOCAL_RANK.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) < 2 or dist.is_initialized():
        yield
        return
    cuda = torch.cuda.is_available()
    if cuda:
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
    dist.init_process_group("cpu:gloo,cuda:nccl" if cuda else "gloo")
    atexit.register(_leave)
    yield


def _leave() -> None:
    """End together: the process that keeps the store must not go while another talks to it."""
    with suppress(RuntimeError):  # another one has died already
        dist.barrier()
    dist.destroy_process_group()


def world() -> int:
    """Number of processes."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def rank() -> int:
    """This process's number, from 0."""
    return dist.get_rank() if world() > 1 else 0


def is_main() -> bool:
    """Whether this process writes files and shows progress."""
    return rank() == 0


def barrier() -> None:
    """Wait for every process."""
    if world() > 1:
        dist.barrier()


def from_main(make: Callable[[], T]) -> T:
    """What `make` returns on the main process, on every process; an error there is raised
    everywhere.
    """
    if world() == 1:
        return make()
    box: list[Any] = [None, None]
    if is_main():
        try:
            box[0] = make()
        except Exception as error:
            box[1] = error
    dist.broadcast_object_list(box, src=0, device=torch.device("cpu"))
    if box[1] is not None:
        raise box[1]
    return cast(T, box[0])


def shard(batch: Tensor) -> Tensor:
    """This process's share of the first axis of `batch`; raises SpecError where it cannot be shared
    evenly.
    """
    if world() == 1:
        return batch
    if len(batch) % world():
        raise SpecError(
            f"batch must be a multiple of the number of processes, {world()}, not {len(batch)}"
        )
    size = len(batch) // world()
    return batch[rank() * size : (rank() + 1) * size]


def average_gradients(parameters: Iterable[nn.Parameter]) -> None:
    """Replace every gradient by its mean over the processes: that of the global batch's mean loss.

    All processes must hold gradients for the same parameters (they do, since they draw the same
    paths).
    """
    if world() == 1:
        return
    gradients = [p.grad for p in parameters if p.grad is not None]
    if not gradients:
        return
    flat = torch.cat([g.reshape(-1) for g in gradients])
    dist.all_reduce(flat)
    flat /= world()
    for gradient, part in zip(
        gradients, torch.split(flat, [g.numel() for g in gradients]), strict=True
    ):
        gradient.copy_(part.reshape(gradient.shape))


def total(x: Tensor) -> Tensor:
    """Sum of `x` over the processes; no gradient."""
    if world() == 1:
        return x
    x = x.detach().clone()
    dist.all_reduce(x)
    return x


def mean(x: Tensor) -> Tensor:
    """Mean of `x` over the processes; no gradient."""
    return x if world() == 1 else total(x) / world()


def largest(x: Tensor) -> Tensor:
    """Largest `x` of the processes, element by element; no gradient."""
    if world() == 1:
        return x
    x = x.detach().clone()
    dist.all_reduce(x, op=dist.ReduceOp.MAX)
    return x


class GlobalBatchNorm2d(nn.BatchNorm2d):
    """Batch norm over the global batch; with one process, and in evaluation, torch's own."""

    def forward(self, x_NCHW: Tensor) -> Tensor:
        """As torch.nn.BatchNorm2d, with mean and variance of all processes' images."""
        if world() == 1 or not self.training:
            return super().forward(x_NCHW)
        assert self.running_mean is not None
        assert self.running_var is not None
        assert self.num_batches_tracked is not None
        assert self.momentum is not None
        y: Tensor
        x_NCHW = x_NCHW.float() if x_NCHW.dtype.itemsize < 4 else x_NCHW
        y, mean_C, var_C, count = _GlobalNorm.apply(x_NCHW, self.weight, self.bias, self.eps)  # type: ignore[no-untyped-call]
        with torch.no_grad():
            self.num_batches_tracked += 1
            self.running_mean.lerp_(mean_C, self.momentum)
            self.running_var.lerp_(var_C * (count / (count - 1)), self.momentum)
        return y


class _GlobalNorm(torch.autograd.Function):
    """Normalization by statistics summed over the processes; two passes, as exact as torch's
    own.
    """

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, gain: Tensor, shift: Tensor, eps: float
    ) -> tuple[Tensor, Tensor, Tensor, int]:
        count = x.numel() // x.shape[1] * world()
        mean_C = total(x.sum(dim=(0, 2, 3))) / count
        centred = x - mean_C[:, None, None]
        var_C = total(centred.square().sum(dim=(0, 2, 3))) / count
        inverse_C = torch.rsqrt(var_C + eps)
        normal = centred * inverse_C[:, None, None]
        ctx.save_for_backward(normal, inverse_C, gain)
        ctx.count = count
        ctx.mark_non_differentiable(mean_C, var_C)
        return normal * gain[:, None, None] + shift[:, None, None], mean_C, var_C, count

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> tuple[Tensor, Tensor, Tensor, None]:
        normal, inverse_C, gain = ctx.saved_tensors
        dy = gradients[0]
        own = torch.stack([dy.sum(dim=(0, 2, 3)), (dy * normal).sum(dim=(0, 2, 3))])
        all_2C = total(own) / ctx.count
        dx = (dy - all_2C[0][:, None, None] - normal * all_2C[1][:, None, None]) * (
            gain * inverse_C
        )[:, None, None]
        return dx, own[1], own[0], None
