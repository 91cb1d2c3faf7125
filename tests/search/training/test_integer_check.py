"""The integer network beside the fake-quantized one: differences are counted as they are, faults of
the arithmetic are raised.
"""

from dataclasses import replace

import numpy as np
import pytest

from autonba import golden
from autonba.search.training import datasets, export, integer_check, reference


@pytest.fixture(scope="module")
def integer(trained):
    network, _, folded = trained
    return export.integers(network, folded)


def plain_digits(network, folded, image, *, rounded_biases=None):
    """Every rounded map of the fake-quantized network for one image: plain loops over scales of
    model.npz; biases as trained.

    `rounded_biases`: integers in their place.
    """
    scales, maps = {"input": 1 / 255}, {"input": image.astype(np.float64) / 255}
    for layer in network.layers:
        x = maps[layer.input]
        if layer.op == "shuffle":
            scales[layer.name] = scales[layer.input]
            maps[layer.name] = (
                x.reshape(layer.groups, -1, *x.shape[1:]).transpose(1, 0, 2, 3).reshape(x.shape)
            )
            continue
        own = folded[layer.name]
        if layer.op == "global_pool":
            y = x.mean(axis=(1, 2), keepdims=True)
        else:
            high = 2 ** (layer.weight_bits - 1) - 1
            s = own.weight_scale[:, None, None, None]
            w = np.clip(np.floor(own.weight / s + 0.5), -high, high) * s
            b = (
                own.bias
                if rounded_biases is None
                else (rounded_biases[layer.name].bias * own.weight_scale * scales[layer.input])
            )
            (py, px), (sy, sx), (kh, kw) = layer.padding, layer.stride, layer.kernel
            padded = np.pad(x, ((0, 0), (py, py), (px, px)))
            rows, columns = (padded.shape[1] - kh) // sy + 1, (padded.shape[2] - kw) // sx + 1
            y, inputs = np.zeros((layer.out_channels, rows, columns)), x.shape[0] // layer.groups
            for o in range(layer.out_channels):
                first = o // (layer.out_channels // layer.groups) * inputs
                for row in range(rows):
                    for column in range(columns):
                        part = padded[
                            first : first + inputs,
                            row * sy : row * sy + kh,
                            column * sx : column * sx + kw,
                        ]
                        y[o, row, column] = (part * w[o]).sum() + b[o]
        if layer.residual is not None:
            y = y + maps[layer.residual]
        if not layer.raw:
            low, high = (
                (-(2 ** (layer.bits - 1)), 2 ** (layer.bits - 1) - 1)
                if layer.signed
                else (0, 2**layer.bits - 1)
            )
            scales[layer.name] = float(own.scale[0])
            y = np.clip(np.floor(y / scales[layer.name] + 0.5), low, high) * scales[layer.name]
        maps[layer.name] = y
    return {
        layer.name: maps[layer.name] / scales[layer.name]
        for layer in network.layers
        if not layer.raw
    }


def test_the_fake_quantized_network_has_the_trained_scales_and_biases(trained, digits, integer):
    """Against loops that know model.npz alone; the network of rounded biases is another, so the two
    can be told apart.
    """
    network, _, folded = trained
    image = digits.test.images[0]
    found = reference.evaluate_quantized(
        network, reference.trained_constants(network, folded), image[None]
    )
    wanted = plain_digits(network, folded, image)
    off = sum(
        int((np.abs(found[name][0] - values) > 1e-6).sum()) for name, values in wanted.items()
    )
    assert off == 0
    other = plain_digits(network, folded, image, rounded_biases=integer[1])
    assert any(np.abs(found[name][0] - values).max() > 0.5 for name, values in other.items())


def test_differences_are_counted_as_they_are(trained, digits, integer):
    """Elements, largest difference and classes, counted again here; and rounding does change
    something.
    """
    network, _, folded = trained
    whole, weights = integer
    images = digits.test.images[:130]
    found = integer_check.compare(whole, folded, weights, images)
    exact = golden.evaluate(whole, weights, images.astype(np.int64))
    real = reference.evaluate_quantized(
        network, reference.trained_constants(network, folded), images
    )
    names = [layer.name for layer in network.layers if not layer.raw]
    apart = np.concatenate([np.abs(exact[n] - real[n]).ravel() for n in names])
    assert found.difference.images == 130
    assert found.difference.elements == apart.size
    assert found.difference.differing_elements == (apart > 0).sum() > 0
    assert found.difference.largest_difference == apart.max() > 0
    classes = [tensors["classifier"].reshape(130, -1).argmax(1) for tensors in (exact, real)]
    assert found.difference.differing_predictions == (classes[0] != classes[1]).sum()
    assert np.array_equal(found.integer, classes[0])
    assert np.array_equal(found.quantized, classes[1])
    causes = {name: own["differing_elements"] for name, own in found.facts()["by_cause"].items()}
    assert causes["rounded_biases"] > causes["rounded_multipliers"] > 0


def test_causes_change_one_thing_alone(trained, digits, integer):
    """Integers that are the trained numbers themselves leave nothing to count for their cause."""
    network, _, folded = trained
    whole, weights = integer
    scales = export.tensor_scales(network, folded)
    on_digits = {
        layer.name: (
            replace(own, bias=weights[layer.name].bias * own.weight_scale * scales[layer.input])
            if layer.op == "conv"
            else own
        )
        for layer in network.layers
        if layer.op != "shuffle"
        for own in [folded[layer.name]]
    }
    causes = integer_check.compare(whole, on_digits, weights, digits.test.images[:100]).causes
    assert causes["rounded_biases"].differing_elements <= 2  # ties, at most
    assert causes["rounded_multipliers"].differing_elements > 20


@pytest.mark.parametrize("field", ["m", "bias", "residual_multiplier", "shift"])
def test_a_golden_model_that_computes_otherwise_is_raised(
    trained, digits, integer, field, monkeypatch
):
    """The golden model reads an integer wrongly; the other evaluation does not."""
    _, _, folded = trained
    whole, weights = integer
    right, adds = (
        golden.evaluate,
        next(layer for layer in whole.layers if layer.residual is not None),
    )

    def wrong(network, own, images):
        if field in ("m", "bias"):
            own = {
                **own,
                adds.name: replace(own[adds.name], **{field: getattr(own[adds.name], field) + 9}),
            }
        else:
            bad = replace(adds, **{field: getattr(adds, field) * 9 // 10})
            network = replace(
                network,
                layers=tuple(bad if layer.name == adds.name else layer for layer in network.layers),
            )
        return right(network, own, images)

    monkeypatch.setattr(integer_check, "evaluate", wrong)
    with pytest.raises(AssertionError, match=f"layer '{adds.name}': the golden model"):
        integer_check.compare(
            whole, folded, weights, digits.test.images[datasets.in_turn(digits.test.labels, 20)]
        )
