"""The compiled loops against the same in numpy, where no other test does it."""

from __future__ import annotations

import numpy as np
import pytest
from numba.core.caching import CacheImpl

from wspy.atlas import loops


@pytest.mark.parametrize("shape", [(1, 1), (3, 200), (130, 65)])
def test_moments_are_those_of_numpy_and_ties_go_to_the_first_frame(shape):
    rows = np.random.default_rng(0).integers(-3, 4, size=shape).astype(np.float32)
    total, squares, positive, highest, lowest = loops.moments(rows)
    assert np.array_equal(total, rows.sum(axis=0))
    assert np.array_equal(squares, (rows**2).sum(axis=0))
    assert np.array_equal(positive, (rows > 0).sum(axis=0))
    assert np.array_equal(highest, rows.argmax(axis=0))
    assert np.array_equal(lowest, rows.argmin(axis=0))
    assert np.array_equal(loops.turned(rows), rows.T)


def test_a_machine_that_can_keep_nothing_compiles_each_time(monkeypatch):
    monkeypatch.setattr(CacheImpl, "_locator_classes", [])
    assert loops._compiled(lambda number: number + 1)(1) == 2
