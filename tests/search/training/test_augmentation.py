"""Augmented images are shifted, mirrored or partly hidden originals, the same from the same
generator.
"""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from autonba.errors import SpecError
from autonba.search.training import augmentation, distributed
from autonba.search.training.augmentation import Feed, Shifts
from autonba.search.training.datasets import Split

N = 40


@pytest.fixture
def split():
    rng = np.random.default_rng(0)
    return Split(images=rng.integers(1, 256, (N, 3, 16, 32), dtype=np.uint8), labels=np.arange(N))


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def test_flip_crop_is_a_window_of_the_mirrored_image(split):
    images = torch.as_tensor(split.images)
    shifts = Shifts.draw(N, 16, 32, seeded(), square=False)
    ours = augmentation.flip_crop(images.permute(0, 2, 3, 1).contiguous(), torch.arange(N), shifts)
    assert set(shifts.row.tolist()) == set(range(-2, 3))  # an eighth of 16
    assert {-3, 3} < set(shifts.column.tolist()) <= set(range(-4, 5))
    assert 10 < int(shifts.flip.sum()) < 30
    for n in range(N):
        padded = F.pad(images[n : n + 1].float(), (4, 4, 4, 4), mode="reflect")[0]
        row, column = 4 + int(shifts.row[n]), 4 + int(shifts.column[n])
        wanted = padded[:, row : row + 16, column : column + 32]
        assert torch.equal(ours[n].float(), wanted.flip(2) if shifts.flip[n] else wanted)


def test_cutout_hides_a_quarter_at_most(split):
    x, _ = Feed(split, "cutout")(torch.arange(N), seeded())
    hidden = (x == augmentation.GREY).all(dim=1)
    share = hidden.float().mean(dim=(1, 2))
    assert float(share.max()) == 0.25
    assert float(share.min()) >= 0.0625
    plain, _ = Feed(split, "flip_crop")(torch.arange(N), seeded())
    assert torch.equal(x.masked_fill(hidden[:, None], 0), plain.masked_fill(hidden[:, None], 0))


@pytest.mark.parametrize("policy", augmentation.POLICIES)
def test_feeds_repeat_and_keep_range_labels_and_layout(split, policy):
    index = torch.tensor([7, 3, 3, 30])
    x, labels = Feed(split, policy)(index, seeded())
    again, _ = Feed(split, policy)(index, seeded())
    assert torch.equal(x, again)
    assert labels.tolist() == index.tolist()
    assert x.shape == (4, 3, 16, 32)
    assert float(x.min()) >= 0.0
    assert float(x.max()) <= 1.0
    other, _ = Feed(split, policy)(index, seeded(1))
    assert torch.equal(x, other) == (policy == "none")
    plain, _ = Feed(split, policy).plain(index)
    assert torch.equal(plain, torch.as_tensor(split.images[index]) * augmentation.INPUT_SCALE)


@pytest.mark.parametrize("policy", augmentation.POLICIES)
def test_processes_share_a_batch(split, policy, monkeypatch):
    whole, labels = Feed(split, policy)(torch.arange(N), seeded())
    monkeypatch.setattr(distributed, "world", lambda: 2)
    parts = []
    for rank in (0, 1):
        monkeypatch.setattr(distributed, "rank", lambda rank=rank: rank)
        parts.append(Feed(split, policy)(torch.arange(N), seeded()))
    assert torch.equal(torch.cat([x for x, _ in parts]), whole)
    assert torch.equal(torch.cat([n for _, n in parts]), labels)


def test_policies_are_named():
    assert augmentation.default((3, 32, 32)) == "flip_crop"
    assert augmentation.default((1, 8, 8)) == "affine"
    with pytest.raises(
        SpecError, match="augmentation must be one of affine, flip_crop, cutout, none, not 'mixup'"
    ):
        augmentation.check("mixup")
