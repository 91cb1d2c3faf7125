"""Images to real batches, with random changes that keep the class.

Random numbers are drawn for the whole (global) batch, and only this process's share of it is
computed, so that several processes see what one would. Suffixes: N images, C channels, H rows, W
columns.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from autonba.errors import SpecError

from . import distributed
from .datasets import Split

Policy = Literal["affine", "flip_crop", "cutout", "none"]
POLICIES: Mapping[Policy, str] = {
    "affine": "small rotations, stretches, shears and shifts; outside is 0",
    "flip_crop": (
        "mirrored left to right in one of two, shifted by up to 4 pixels (1/8 of smaller images);"
        " outside is mirrored"
    ),
    "cutout": "flip_crop, and one square of half the width set to grey",
    "none": "nothing",
}
INPUT_SCALE = 1 / 255
PAD = 4  # pixels that flip_crop shifts by at most
GREY = 0.5


def check(policy: str) -> Policy:
    """`policy`, if there is one of that name; raises SpecError."""
    for known in POLICIES:
        if policy == known:
            return known
    raise SpecError(f"augmentation must be one of {', '.join(POLICIES)}, not {policy!r}")


def default(shape: tuple[int, int, int]) -> Policy:
    """For images (C, H, W): colour images may be mirrored and shifted, grey ones (digits, letters)
    only bent a little.
    """
    return "flip_crop" if shape[0] == 3 else "affine"


def as_input(images: object) -> Tensor:
    """uint8 images as real values 0..1."""
    return torch.as_tensor(images, dtype=torch.float32) * INPUT_SCALE


def affine(x_NCHW: Tensor, generator: torch.Generator) -> Tensor:
    """Policy `affine` of the global batch's images; returns this process's share."""
    n = x_NCHW.shape[0]
    theta = torch.zeros(n, 2, 3)
    theta[:, 0, 0] = theta[:, 1, 1] = 1.0
    theta[:, :, :2] += (torch.rand((n, 2, 2), generator=generator) - 0.5) * 0.3
    theta[:, :, 2] = (torch.rand((n, 2), generator=generator) - 0.5) * 0.3
    own, x = distributed.shard(theta), distributed.shard(x_NCHW)
    grid = F.affine_grid(own, list(x.shape), align_corners=False)
    return F.grid_sample(x, grid, padding_mode="zeros", align_corners=False)


@dataclass(frozen=True, kw_only=True)
class Shifts:
    """Draws for N images: `flip` (N,) bool, first `row` and `column` (N,), `corner` (N, 2) of the
    grey square.
    """

    flip: Tensor
    row: Tensor
    column: Tensor
    corner: Tensor | None

    @classmethod
    def draw(
        cls, n: int, height: int, width: int, generator: torch.Generator, *, square: bool
    ) -> Shifts:
        """For `n` images; a shift is at most PAD and an eighth of the side."""
        down, right = min(PAD, height // 8), min(PAD, width // 8)
        flip = torch.rand(n, generator=generator) < 0.5
        row = torch.randint(-down, down + 1, (n,), generator=generator)
        column = torch.randint(-right, right + 1, (n,), generator=generator)
        corner = None
        if square:  # its centre is anywhere in the image, so that it may stick out
            centre = torch.rand((n, 2), generator=generator) * torch.tensor(
                [float(height), float(width)]
            )
            corner = centre.floor().long() - torch.tensor([height // 4, width // 4])
        return cls(flip=flip, row=row, column=column, corner=corner)

    def share(self) -> Shifts:
        """This process's part."""
        corner = None if self.corner is None else distributed.shard(self.corner)
        own = [distributed.shard(t) for t in (self.flip, self.row, self.column)]
        return Shifts(flip=own[0], row=own[1], column=own[2], corner=corner)


def _mirrored(start_N: Tensor, size: int) -> Tensor:
    """Rows (or columns) start..start + size - 1 of each image (N, size), those outside mirrored at
    the border.
    """
    index = (start_N[:, None] + torch.arange(size)).abs()
    return size - 1 - (size - 1 - index).abs()


def flip_crop(images_NHWC: Tensor, index_N: Tensor, shifts: Shifts) -> Tensor:
    """uint8 images (N, C, H, W), channels last in memory, of the rows `index_N` of
    `images_NHWC`.
    """
    _, height, width, _ = images_NHWC.shape
    rows, columns = _mirrored(shifts.row, height), _mirrored(shifts.column, width)
    columns = torch.where(shifts.flip[:, None], columns.flip(1), columns)
    device = images_NHWC.device
    place = (index_N[:, None, None], rows[:, :, None], columns[:, None, :])
    return images_NHWC[tuple(p.to(device) for p in place)].permute(0, 3, 1, 2)


def cut_out(x_NCHW: Tensor, corner: Tensor) -> Tensor:
    """`x_NCHW` with a grey rectangle of half the height and width at each image's corner (row,
    column).
    """
    height, width = x_NCHW.shape[2:]
    row = torch.arange(height) - corner[:, :1]
    column = torch.arange(width) - corner[:, 1:]
    hidden = ((row >= 0) & (row < height // 2))[:, :, None] & (
        (column >= 0) & (column < width // 2)
    )[:, None, :]
    return x_NCHW.masked_fill(hidden[:, None].to(x_NCHW.device), GREY)


class Feed:
    """A split as batches of real images (N, C, H, W), channels last in memory, and labels, on a
    device.

    `feed(index, generator)` is this process's share of the global batch `index`, changed by the
    policy; `feed.plain(index)` is the same unchanged.
    """

    def __init__(
        self, split: Split, policy: Policy = "none", device: torch.device | str = "cpu"
    ) -> None:
        check(policy)
        self.policy, self.device = policy, torch.device(device)
        images = torch.as_tensor(split.images)
        self.images_NHWC = images.permute(0, 2, 3, 1).contiguous().to(self.device)
        self.labels_N = torch.as_tensor(split.labels).to(self.device)

    def __len__(self) -> int:
        return len(self.labels_N)

    def order(self, generator: torch.Generator) -> Tensor:
        """A random order of all images (N,)."""
        return torch.randperm(len(self), generator=generator)

    def __call__(self, index_N: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Images 0..1 and labels of this process's share of `index_N`."""
        if self.policy == "none":
            return self.plain(index_N)
        own = distributed.shard(index_N)
        if self.policy == "affine":
            x = affine(
                as_input(self.images_NHWC[index_N.to(self.device)]).permute(0, 3, 1, 2).cpu(),
                generator,
            )
            return x.to(self.device), self.labels_N[own.to(self.device)]
        _, height, width, _ = self.images_NHWC.shape
        drawn = Shifts.draw(len(index_N), height, width, generator, square=self.policy == "cutout")
        shifts = drawn.share()
        x = as_input(flip_crop(self.images_NHWC, own, shifts))
        if shifts.corner is not None:
            x = cut_out(x, shifts.corner)
        return x, self.labels_N[own.to(self.device)]

    def plain(self, index_N: Tensor, *, shared: bool = True) -> tuple[Tensor, Tensor]:
        """Images 0..1 and labels of this process's share of `index_N` (of all of it, if not
        `shared`), unchanged.
        """
        own = (distributed.shard(index_N) if shared else index_N).to(self.device)
        return as_input(self.images_NHWC[own]).permute(0, 3, 1, 2), self.labels_N[own]
