"""Spaces as files."""

from dataclasses import fields
from pathlib import Path

import pytest

from autonba.errors import SpecError
from autonba.network import macs
from autonba.search.network import spaces
from autonba.search.network.spaces import Choice
from autonba.search.settings import Settings
from tests.search.network.test_sampling import SPACE

DOCS = Path(__file__).parents[3] / "docs"
CLASSES = tuple(str(n) for n in range(10))


@pytest.mark.parametrize("name", spaces.SHIPPED)
def test_every_operator_of_a_shipped_space_builds_a_network(name):
    space = spaces.load(name)
    size = 224 if name == "fbnet-imagenet" else 32
    for operator in space.operators:
        choices = [Choice(operator=operator.name, bits=space.bits[0])] * len(space.blocks)
        assert macs(spaces.network(space, choices, (3, size, size), CLASSES)) > 0


@pytest.mark.parametrize(("name", "head"), [("fbnet-cifar", 1504), ("fbnet-imagenet", 1984)])
def test_the_papers_space(name, head):
    space = spaces.load(name)
    assert [b.out_channels for b in space.blocks] == [
        16,
        *[24] * 4,
        *[32] * 4,
        *[64] * 4,
        *[112] * 4,
        *[184] * 4,
        352,
    ]
    assert space.head_channels == head
    assert [o.name for o in space.operators][-1] == "skip"


def test_operators_are_what_their_names_say():
    space = spaces.parse("toy", SPACE.replace('"k3_e1", "k5_e3"', '"f3_e2", "r5_e1", "c3"'))
    built = {
        name: (
            spaces.network(
                space, [Choice(operator=name, bits=4)] * 2, (1, 6, 6), ("a", "b")
            ).layers[1:-3]
        )
        for name in ("f3_e2", "r5_e1", "c3")
    }
    shapes = {
        name: [(own.kernel[0], own.out_channels, own.signed) for own in layers]
        for name, layers in built.items()
    }
    assert shapes["f3_e2"] == [(3, 8, False), (1, 4, True), (3, 8, False), (1, 8, True)]
    assert shapes["r5_e1"] == [(5, 4, False), (5, 4, False), (5, 8, False), (5, 8, False)]
    assert shapes["c3"] == [(3, 4, False), (3, 8, False)]
    assert [own.residual for own in built["r5_e1"]] == [None, "stem", None, None]


def test_bits_alone_and_operators_alone():
    space = spaces.load("digits")
    fixed = spaces.fix(space, operators=["r3_e1"] * 5, bits=[8, 3])
    assert [[fixed.operators[i].name for i in b.allowed] for b in fixed.blocks] == [["r3_e1"]] * 5
    assert fixed.bits == (3, 8)
    named = spaces.parse(
        "toy", SPACE.replace("operators = [", 'blocks = ["k3_e1", "skip"]\noperators = [')
    )
    assert [[named.operators[i].name for i in b.allowed] for b in named.blocks] == [
        ["k3_e1"],
        ["skip"],
    ]
    with pytest.raises(SpecError, match="operators must name 5 operators"):
        spaces.fix(space, operators=["skip"])


def test_stages_may_have_operators_of_their_own():
    text = SPACE.replace("stride = 2\n[search]", 'stride = 2\noperators = ["c3"]\n[search]')
    space = spaces.parse("toy", text)
    assert [[space.operators[i].name for i in b.allowed] for b in space.blocks][1] == ["c3"]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("head = 8", "heads = 8", "unknown key network.heads; did you mean 'head'"),
        ("head = 8", 'head = "8"', "network.head must be an integer, not '8'"),
        ("head = 8\n", "", "network.head must be given"),
        (
            "bits = [4, 6, 8]",
            "bits = [4, 9]",
            r"network.bits must be different integers from 2 to 8, not \[4, 9\]",
        ),
        ("bits = [4, 6, 8]", "bits = []", "network.bits must be"),
        ('"k3_e1"', '"k4_e1"', "must be 'skip' or like .*not 'k4_e1'"),
        ('"k3_e1"', '"c3_e2"', "must be 'skip' or like"),
        (
            "stride = 1\n[[",
            "stride = 1\noperators = []\n[[",
            "block 0 must have at least one operator",
        ),
        (
            "operators = [",
            'blocks = ["skip"]\noperators = [',
            "block 1 must have at least one operator",
        ),
        (
            "[search]",
            '[train]\naugmentation = "twist"\n[search]',
            "train.augmentation must be one of",
        ),
        ("[search]", "[search", "the file must be TOML"),
        ("[search]", "[hardware]\nchunks = 2\n[search]", "unknown key hardware"),
        ('"k3_e1"', "3", "network.operators must be a list of texts"),
    ],
)
def test_mistakes_are_named(old, new, message):
    assert old in SPACE
    with pytest.raises(SpecError, match=message):
        spaces.parse("toy", SPACE.replace(old, new, 1))


def test_a_space_in_a_file_names_the_file(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(SPACE)
    assert spaces.load(str(path)).name == "mine"
    path.write_text(SPACE.replace("head = 8", "haed = 8"))
    with pytest.raises(SpecError, match=r"mine\.toml: unknown key network.haed"):
        spaces.load(str(path))
    with pytest.raises(SpecError, match="space must be one of digits"):
        spaces.load("cifar")
    with pytest.raises(SpecError, match="the file must exist"):
        spaces.load(str(tmp_path / "none.toml"))


def test_documents_name_every_key():
    text = (DOCS / "search-spaces.md").read_text()
    for table, keys in spaces._KEYS.items():
        for key in keys:
            assert f"`{key}`" in text or f"`[{key}]`" in text, f"{table}.{key}"
    text = (DOCS / "search.md").read_text()
    for field in fields(Settings):
        assert f"`{field.name}`" in text, field.name


def test_an_inverted_bottleneck_is_expanded_deep_and_linear():
    """k5_e3 from 4 to 8 channels at stride 2: 1x1 to 3 * 4, depthwise, linear 1x1; only the first
    block of a stage strides.
    """
    space = spaces.parse(
        "toy", SPACE.replace("channels = 8\nblocks = 1", "channels = 8\nblocks = 2")
    )
    built = spaces.network(space, [Choice(operator="k5_e3", bits=4)] * 3, (1, 6, 6), ("a", "b"))
    shown = {
        own.name: (
            own.out_channels,
            own.groups,
            own.kernel[0],
            own.stride[0],
            own.signed,
            own.residual,
        )
        for own in built.layers
    }
    assert [shown[f"b1_{part}"] for part in ("expand", "depthwise", "project")] == [
        (12, 1, 1, 1, False, None),
        (12, 12, 5, 2, False, None),
        (8, 1, 1, 1, True, None),
    ]
    assert [shown[f"b2_{part}"] for part in ("expand", "depthwise", "project")] == [
        (24, 1, 1, 1, False, None),
        (24, 24, 5, 1, False, None),
        (8, 1, 1, 1, True, "b1_project"),
    ]
    assert built.tensors["b2_project"].height == 3


def test_groups_are_shuffled_between_the_convolutions():
    space = spaces.parse("toy", SPACE)
    built = spaces.network(
        space,
        [Choice(operator="k3_e1_g2", bits=4), Choice(operator="skip", bits=4)],
        (1, 6, 6),
        ("a", "b"),
    )
    block = {
        own.name: (own.op, own.groups, own.input)
        for own in built.layers
        if own.name.startswith("b0_")
    }
    assert block == {
        "b0_expand": ("conv", 2, "stem"),
        "b0_shuffle": ("shuffle", 2, "b0_expand"),
        "b0_depthwise": ("conv", 4, "b0_shuffle"),
        "b0_project": ("conv", 2, "b0_depthwise"),
    }


def test_the_widest_bitwidth_is_the_last():
    assert spaces.parse("toy", SPACE.replace("[4, 6, 8]", "[8, 4, 6]")).bits == (4, 6, 8)
    assert spaces.fix(spaces.parse("toy", SPACE), bits=[7, 2]).bits == (2, 7)


def test_a_network_tells_which_block_its_layers_stand_in():
    """Also where a block is empty, is a convolution that changes the shape, or shuffles."""
    space = spaces.parse("tiny", SPACE)
    choices = [
        Choice(operator=space.operators[n % len(space.operators)].name, bits=space.bits[0])
        for n in range(len(space.blocks))
    ]
    for own in (choices, choices[::-1], [Choice(operator="skip", bits=4)] * len(choices)):
        placed = spaces.place(space, own, (1, 8, 8), CLASSES)
        names, source = ["stem"], "stem"
        for block, choice in zip(space.blocks, own, strict=True):
            operator = next(o for o in space.operators if o.name == choice.operator)
            layers = spaces.block_layers(block, operator, choice.bits, source)
            assert {n for n, b in placed.block_of.items() if b == block.index} == {
                layer.name for layer in layers
            }
            names += [layer.name for layer in layers]
            source = names[-1]
        assert [*names, "head", "pool", "classifier"] == [n.name for n in placed.network.layers]
