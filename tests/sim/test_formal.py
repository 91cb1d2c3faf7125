"""Formal proofs hold for generated RTL, and each of them fails on planted faults."""

from __future__ import annotations

import pytest

from autonba.bundle import Bundle
from autonba.errors import ToolError
from autonba.sim.formal import Proof, proofs, prove, table, tools
from tests.sim.conftest import plant


@pytest.fixture(autouse=True)
def _solver() -> None:
    try:
        tools()
    except ToolError as error:
        pytest.skip(str(error))


def _proof(bundle: Bundle, module: str) -> Proof:
    return next(proof for proof in proofs(bundle) if proof.module.startswith(module))


@pytest.mark.parametrize("module", ["row_tokens", "image_input", "result_output", "host_registers"])
def test_quick_proofs_hold(tiny: Bundle, module: str) -> None:
    verdict = prove(tiny, _proof(tiny, module))
    assert not verdict.failed
    assert verdict.proof.properties
    assert "yes" in table([verdict])


@pytest.mark.slow
def test_every_proof_holds(small: Bundle) -> None:
    assert [
        v.proof.module for v in (prove(small, proof) for proof in proofs(small)) if v.failed
    ] == []


FAULTS = [
    ("row_tokens", "row_tokens.v", "free + release_read - claim_write", "free + release_read"),
    (
        "row_tokens",
        "row_tokens.v",
        "available + commit - claim_read",
        "available + commit + release_read - claim_read",
    ),
    (
        "row_buffer",
        "row_buffer.v",
        "assign read_word = read_address;",
        "assign read_word = read_address ^ 1'b1;",
    ),
    (
        "row_buffer",
        "ram_distributed.v",
        "if (write_enable)",
        "if (write_enable && write_data != 0)",
    ),
    ("schedule_", "schedule_conv0.v", "task_valid = 1'h1", "task_valid = task_ready"),
    ("schedule_", "schedule_conv0.v", ">=", ">"),
    (
        "image_input",
        "image_input.v",
        "assign s_axis_tready =",
        "assign s_axis_tready = s_axis_tvalid |",
    ),
    ("image_input", "image_input.v", "commit <=", "commit <= out0_enable |"),
    ("result_output", "result_output.v", "m_axis_tvalid = 1'h1", "m_axis_tvalid = m_axis_tready"),
    ("result_output", "result_output.v", "assign read_address =", "assign read_address = 1 ^"),
    (
        "host_registers",
        "host_registers.v",
        "assign s_axil_arready =",
        "assign s_axil_arready = 1'b1 |",
    ),
    ("host_registers", "host_registers.v", "patience <=", "patience <= 1'b1 ^"),
]
QUICK = {"row_tokens"}


@pytest.mark.parametrize(
    ("module", "file", "old", "new"),
    [pytest.param(*fault, marks=() if fault[0] in QUICK else pytest.mark.slow) for fault in FAULTS],
)
def test_planted_fault_is_found(
    spoilt_tiny: Bundle, module: str, file: str, old: str, new: str
) -> None:
    plant(spoilt_tiny, file, old, new)
    found = [
        prove(spoilt_tiny, proof).failed
        for proof in proofs(spoilt_tiny)
        if proof.module.startswith(module)
    ]
    assert any(found)
