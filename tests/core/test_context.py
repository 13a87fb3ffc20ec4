"""What a runner may ask of its surroundings."""

import time

import numpy as np
import pytest
import torch
from craftbench.core.context import DeadlineExceeded, RunContext


def test_streams_repeat_and_differ_by_name_and_root():
    def draws(root, stream):
        run = RunContext(root)
        return (*run.rng(stream).integers(0, 10**9, 4), *torch.randint(10**9, (4,), generator=run.generator(stream)).tolist())

    assert draws(1, "init") == draws(1, "init")
    assert len({draws(1, "init"), draws(1, "batches"), draws(2, "init"), draws(11, "init")}) == 4


def test_streams_leave_the_global_ones_alone():
    torch.manual_seed(3)
    before = torch.random.get_rng_state()
    RunContext(1).generator("init")
    RunContext(1).rng("init")
    assert torch.equal(torch.random.get_rng_state(), before)


def test_asking_for_a_stream_twice_begins_it_anew():
    run = RunContext(5)
    assert np.array_equal(run.rng("a").random(3), run.rng("a").random(3))


def test_progress_is_heard_with_its_value():
    heard = []
    run = RunContext(1, listener=lambda step, value: heard.append((step, value)))
    run.progress(1)
    run.progress(2, 0.5)
    assert heard == [(1, None), (2, 0.5)]


def test_a_deadline_stops_at_the_next_step_and_not_before():
    RunContext(1, deadline=time.monotonic() + 60).progress(1)
    run = RunContext(1, deadline=time.monotonic() - 1e-6)
    with pytest.raises(DeadlineExceeded, match="step 7"):
        run.progress(7)


def test_a_step_past_the_deadline_is_still_heard():
    heard = []
    run = RunContext(1, deadline=0.0, listener=lambda step, value: heard.append(step))
    with pytest.raises(DeadlineExceeded):
        run.progress(3)
    assert heard == [3]


def test_clocks_add_up_even_where_something_is_raised():
    run = RunContext(1)
    for _ in range(2):
        with run.clock("solver"):
            time.sleep(0.01)
    with pytest.raises(ValueError, match="x"), run.clock("other"):
        raise ValueError("x")
    assert run.clocks["solver"] >= 0.02
    assert set(run.clocks) == {"solver", "other"}


def test_notes_are_plain_numbers_and_parents_go_by_name():
    run = RunContext(1, parents={"original": "model"})
    run.note("iterations", np.int64(3))
    run.note("converged", np.bool_(True))
    assert run.notes == {"iterations": 3.0, "converged": 1.0}
    assert {type(value) for value in run.notes.values()} == {float}
    assert run.parent("original") == "model"
    with pytest.raises(KeyError):
        run.parent("retrain")


def test_contexts_share_nothing():
    one, other = RunContext(1), RunContext(1)
    one.note("a", 1)
    one.clocks["b"] = 1.0
    assert (other.notes, other.clocks) == ({}, {})
