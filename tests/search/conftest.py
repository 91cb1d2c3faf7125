"""One thread for all tests here: maps are tiny, and two test processes with two threads each fight
for the cores.
"""

import pytest
import torch

from autonba.search.accelerator import pricing
from autonba.search.accelerator.engines import annealing, auto, staged
from autonba.search.network import spaces
from autonba.search.network.spaces import Choice
from autonba.search.training import datasets, export, train

BLOCKS = (
    ("k3_e1", 6),
    ("k3_e1_g2", 4),
    ("k5_e1", 8),
    ("skip", 4),
    ("k3_e1_g2", 6),
)  # residuals, groups, shuffle, strided skip


@pytest.fixture(autouse=True, scope="session")
def one_thread():
    torch.set_num_threads(1)


@pytest.fixture(autouse=True, scope="session")
def quick_accelerators():
    """Accelerator searches short enough for tests that are about something else."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(staged, "EVALUATIONS", 3000)
        patch.setattr(auto, "PROOF_SECONDS", 0.0)
        patch.setattr(pricing, "QUICK_EVALUATIONS", 1500)
        patch.setattr(annealing, "MOVES", 2)
        yield


@pytest.fixture(scope="session")
def digits():
    """The digits, split."""
    return datasets.digits()


@pytest.fixture(scope="session")
def trained(digits):
    """A small network, trained a little on the digits: its outline, the model, and the folded
    quantized network.
    """
    torch.manual_seed(0)
    space = spaces.load("digits")
    network = spaces.network(
        space, [Choice(operator=o, bits=b) for o, b in BLOCKS], digits.shape, digits.classes
    )
    model = train.Model(network)
    losses = [e["loss"] for e in train.fit(model, digits.train, train.Recipe(epochs=8), seed=0)]
    assert losses[-1] < losses[0]
    return network, model, export.fold(model, True)
