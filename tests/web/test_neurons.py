"""A layer as a table and as a map."""

from __future__ import annotations

from wspy.web.neurons import DECODER, ENCODER, EVERY, LABELLED, NeuronLayer

ROWS = ((7, "S", "fricatives", 0.99, 0.9, 0.1), (2, "AA", "vowels", 0.8, 0.7, 0.5), (5, "", "", 0.6, None, 0.0))
LAYER = NeuronLayer(ENCODER, ROWS, {2: (0, 0), 5: (1, 1), 7: (2, 0)}, "How to read it.")


def test_it_is_filtered_by_label_and_by_class() -> None:
    assert LAYER.kinds() == [EVERY, LABELLED, "fricatives", "vowels", "AA", "S"]
    listed = {kind: [row[0] for row in LAYER.listed(kind)] for kind in LAYER.kinds()}
    assert listed == {EVERY: [7, 2, 5], LABELLED: [7, 2], "fricatives": [7], "vowels": [2], "AA": [2], "S": [7]}


def test_points_of_the_map_are_the_rows_and_those_not_wanted_stand_back() -> None:
    drawn = LAYER.map_html("S")
    assert [LAYER.neuron(point) for point in range(3)] == [7, 2, 5]
    assert drawn.count("<circle") == 3 and drawn.count('class="dim"') == 2
    assert "<title>7: S, 0.99</title>" in drawn and "<title>5: no label, 0.6</title>" in drawn
    assert drawn.index("<li>") < drawn.index("vowels") and "How to read it." in drawn


def test_one_neuron_of_each_class_to_begin_with() -> None:
    assert [part.partition('"')[0] for part in LAYER.beginning().split('data-pick="')[1:]] == ["7", "2", "5"]


def test_neurons_of_the_decoder_are_known_by_their_tokens() -> None:
    layer = NeuronLayer(DECODER, ((1, "“ cat”", 9.0, 0.2), (0, "“ of”", 8.0, 0.1)), {0: (0, 0), 1: (1, 1)}, "")
    assert layer.kinds() == [EVERY] and [row[0] for row in layer.listed(EVERY)] == [1, 0]
    assert "“ cat”" in layer.beginning()
