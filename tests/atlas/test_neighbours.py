"""Units that resemble a unit: planted twins are each other's nearest."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.atlas.conftest import noise
from wspy.atlas import ensure_atlas, nearest_by_direction, nearest_by_phones
from wspy.testing import tiny_whisper

SITE = "encoder.blocks.0.mlp.1"
TWINS = (3, 7)


def test_twins_are_nearest_by_what_they_write_and_by_what_they_hear():
    model = tiny_whisper(seed=4)
    read, write = (model.whisper.encoder.blocks[0].mlp[at] for at in (0, 2))
    with torch.no_grad():
        read.weight[TWINS[1]] = read.weight[TWINS[0]]
        read.bias[TWINS[1]] = read.bias[TWINS[0]]
        write.weight[:, TWINS[1]] = -2 * write.weight[:, TWINS[0]]  # the same sounds, the opposite effect
        write.weight[:, 9] = 3 * write.weight[:, TWINS[0]]
    atlas = ensure_atlas(SITE, model.reference, noise(12, phones=True), model=lambda: model)
    nearest = nearest_by_direction(atlas, TWINS[0], 255)
    assert nearest[0].unit == 9 and nearest[0].similarity == pytest.approx(1, abs=2e-3)
    assert nearest[-1].unit == TWINS[1] and nearest[-1].similarity == pytest.approx(-1, abs=2e-3)
    columns = write.weight.numpy() / np.linalg.norm(write.weight.numpy(), axis=0)
    assert nearest[1].similarity == pytest.approx(np.sort(columns.T @ columns[:, TWINS[0]])[-3], abs=2e-3)
    assert nearest_by_phones(atlas, TWINS[0], 1)[0].unit == TWINS[1]
    assert nearest_by_phones(atlas, TWINS[1], 1)[0].unit == TWINS[0]


def test_sites_without_directions_or_phones_have_no_neighbours():
    model = tiny_whisper(seed=4)
    atlas = ensure_atlas("encoder.blocks.0", model.reference, noise(3), model=lambda: model)
    assert nearest_by_direction(atlas, 0, 5) == [] and nearest_by_phones(atlas, 0, 5) == []
