"""The log's bytes are those of a run that was never interrupted."""

import json

import pytest

from autonba.search.training.progress_log import Log


def test_values_are_rounded_and_bytes_repeat(tmp_path):
    log = Log(tmp_path / "deep" / "log.jsonl")
    log.scalars("joint", 1, {"loss": 1 / 3, "rate": 1234567.0})
    line = (tmp_path / "deep" / "log.jsonl").read_text()
    assert line == '{"phase": "joint", "step": 1, "loss": 0.333333, "rate": 1234570.0}\n'
    log.clear()
    assert not (tmp_path / "deep" / "log.jsonl").exists()
    Log().scalars("joint", 1, {"loss": 1.0})  # keeps nothing, and may be called


def test_rewind_drops_later_steps_later_phases_and_a_torn_line(tmp_path):
    path = tmp_path / "log.jsonl"
    log = Log(path)
    for phase, steps in (("joint", 3), ("float", 4)):
        log.rewind(phase)
        for step in range(1, steps + 1):
            log.scalars(phase, step, {"x": step})
    whole = path.read_bytes()
    path.write_bytes(whole + b'{"phase": "flo')
    log.rewind("float", 4)
    assert path.read_bytes() == whole
    log.rewind("float", 2)
    assert [json.loads(line)["step"] for line in path.read_text().splitlines()] == [1, 2, 3, 1, 2]
    log.rewind("joint", 1)
    assert [json.loads(line)["step"] for line in path.read_text().splitlines()] == [1]
    path.write_text("rubbish\n")
    log.rewind("joint")
    assert path.read_bytes() == b""


def test_tensorboard_holds_each_step_once(tmp_path):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    log = Log(tmp_path / "log.jsonl", tmp_path / "board")
    for step in (1, 2, 3):
        log.scalars("joint", step, {"loss": step * 0.5})
    log.close()
    again = Log(tmp_path / "log.jsonl", tmp_path / "board")
    again.rewind("joint", 2)
    again.scalars("joint", 3, {"loss": 9.0})
    again.close()
    events = EventAccumulator(str(tmp_path / "board" / "joint"))
    events.Reload()
    assert [(e.step, e.value) for e in events.Scalars("loss")] == [(1, 0.5), (2, 1.0), (3, 9.0)]


def test_a_missing_tensorboard_is_told_at_once(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "tensorboard", None)
    with pytest.raises(ModuleNotFoundError) as error:
        Log(None, tmp_path)
    assert error.value.name == "tensorboard"
