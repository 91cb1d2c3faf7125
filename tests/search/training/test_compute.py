"""Device, precision, threads, and the step that all trainings take."""

import pytest
import torch
import torch.nn.functional as F

from autonba.errors import SpecError
from autonba.network import Layer
from autonba.search.training.compute import Compute, convolve


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"device": "tpu"}, "device must be auto, cpu or cuda, not 'tpu'"),
        ({"precision": "int8"}, "precision must be float32, bf16 or fp16, not 'int8'"),
        ({"threads": 0}, "threads must be 1 to 1024, not 0"),
        ({"device": "cpu", "precision": "fp16"}, "precision must be float32 or bf16 on a CPU"),
    ],
)
def test_settings_are_checked(settings, message):
    with pytest.raises(SpecError, match=message):
        Compute(**settings)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_cuda_is_refused_where_there_is_none():
    with pytest.raises(SpecError, match="no GPU"):
        Compute(device="cuda")
    assert Compute(device="auto").target.type == "cpu"


def test_threads_are_held_and_given_back():
    before = torch.get_num_threads()
    with Compute(threads=before + 1).session():
        assert torch.get_num_threads() == before + 1
    assert torch.get_num_threads() == before


@pytest.mark.parametrize(
    ("groups", "kernel", "stride", "half"),
    [(1, 3, 1, True), (8, 3, 1, True), (8, 5, 1, False), (8, 3, 2, False)],
)
def test_autocast_halves_convolutions_but_those_that_get_slower(groups, kernel, stride, half):
    layer = Layer(
        name="c",
        op="conv",
        input="x",
        out_channels=8,
        kernel=(kernel,) * 2,
        stride=(stride,) * 2,
        padding=(kernel // 2,) * 2,
        groups=groups,
        weight_bits=8,
        bits=8,
    )
    x, w = torch.randn(2, 8, 8, 8), torch.randn(8, 8 // groups, kernel, kernel)
    compute = Compute(precision="bf16")
    with compute.autocast():
        y = convolve(x, w, None, layer)
    assert y.dtype == (torch.bfloat16 if half else torch.float32)
    exact = F.conv2d(x, w, None, stride, kernel // 2, groups=groups)
    assert torch.allclose(y.float(), exact, atol=0.2)
    with compute.autocast(exact=True):
        assert torch.equal(convolve(x, w, None, layer), exact)


def test_one_step_clips_the_last_optimizer_and_moves_all():
    a, b = torch.nn.Parameter(torch.ones(2)), torch.nn.Parameter(torch.ones(2))
    first, last = torch.optim.SGD([a], lr=1.0), torch.optim.SGD([b], lr=1.0)
    Compute().step((3 * a + 4 * b).sum(), first, last, clip=1.0)
    assert a.tolist() == [-2.0, -2.0]
    assert torch.allclose(b, torch.full((2,), 1 - 0.5**0.5))
