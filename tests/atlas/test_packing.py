"""Packed rows against the numbers that went in."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wspy.atlas.packing import pack_rows, unpack_rows, unzigzag, zigzag


@given(st.integers(0, 6), st.integers(0, 600), st.integers(0, 2**32 - 1))
@settings(deadline=None)
def test_rows_come_back_together_and_alone(n_rows, n_columns, seed):
    rng = np.random.default_rng(seed)
    shape = (n_rows, n_columns)
    values = rng.integers(0, 2 ** rng.integers(1, 63, size=shape)) * (rng.random(shape) < 0.3)
    offset, data = pack_rows(values)
    assert np.array_equal(unpack_rows(offset, data, n_columns), values)
    for row in range(n_rows):
        alone = unpack_rows(offset[row : row + 2], data[offset[row] : offset[row + 1]], n_columns)
        assert np.array_equal(alone[0], values[row])


def test_the_largest_number_fits():
    values = np.array([[2**63 - 1, 0, 2**53 + 1, 2**32, 2**32 - 1]])
    assert np.array_equal(unpack_rows(*pack_rows(values), 5), values)


def test_zeros_cost_next_to_nothing():
    offset, data = pack_rows(np.zeros((10, 16_000), np.int64))
    assert offset[-1] == len(data) == 10


def test_damaged_rows_are_refused():
    offset, data = pack_rows(np.arange(300).reshape(1, 300))
    with pytest.raises(ValueError, match="end too early"):
        unpack_rows(offset, data[:-3], 300)
    with pytest.raises(ValueError, match="contradict"):
        unpack_rows(np.array([0, len(data) + 1]), np.append(data, np.uint8(0)), 300)
    data[0] = 255
    with pytest.raises(ValueError, match="63 bits"):
        unpack_rows(offset, data, 300)


def test_zigzag_keeps_small_numbers_small():
    values = np.array([0, -1, 1, -2, 2, 2**62 - 1, -(2**62)])
    assert zigzag(values).tolist()[:5] == [0, 1, 2, 3, 4]
    assert np.array_equal(unzigzag(zigzag(values)), values)
