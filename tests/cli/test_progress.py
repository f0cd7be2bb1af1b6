"""What is said while work goes on."""

from __future__ import annotations

import io

import pytest

from wspy.cli.progress import Estimate, Lines, TerminalBars, clock_text
from wspy.progress import Silent


class Clock:
    """A clock that stands still until it is told."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.mark.parametrize(("seconds", "text"), [(None, "-:--"), (0, "0:00"), (59.6, "1:00"), (3725, "1:02:05")])
def test_clock_text(seconds, text):
    assert clock_text(seconds) == text


def test_the_estimate_is_exact_for_a_steady_loop_and_counts_down():
    clock = Clock()
    estimate = Estimate(100, clock)
    assert estimate.left_s is None
    for _ in range(40):
        clock.now += 0.5
        estimate.advance()
    assert estimate.left_s == pytest.approx(30.0)
    clock.now += 0.25
    assert estimate.left_s == pytest.approx(29.75)


def test_the_estimate_follows_a_change_of_pace():
    clock = Clock()
    estimate = Estimate(2000, clock)
    for _ in range(1000):
        clock.now += 0.01
        estimate.advance()
    for _ in range(40):
        clock.now += 1.0
        estimate.advance()
    assert estimate.left_s == pytest.approx(960, rel=0.05)


def test_the_cost_of_starting_up_is_not_taken_for_the_pace():
    clock = Clock()
    estimate = Estimate(300, clock)
    clock.now += 12
    estimate.advance()
    assert estimate.left_s is None
    for _ in range(10):
        clock.now += 0.1
        estimate.advance()
    assert estimate.left_s == pytest.approx(28.9, rel=0.01)


def test_a_batch_that_is_gathered_at_once_does_not_look_free():
    clock = Clock()
    estimate = Estimate(80, clock)
    for _ in range(7):
        estimate.advance()
    clock.now += 8
    assert 60 < estimate.left_s < 120


def test_nothing_is_left_at_the_end_and_without_a_total_nothing_is_claimed():
    clock = Clock()
    known, unknown = Estimate(3, clock), Estimate(None, clock)
    for _ in range(3):
        clock.now += 1
        known.advance()
        unknown.advance()
    assert known.left_s == 0
    clock.now += 50
    assert known.left_s == 0
    assert unknown.left_s is None
    assert unknown.elapsed_s == 53


def test_lines_say_done_total_and_time_left():
    clock, stream = Clock(), io.StringIO()

    def work():
        for item in range(40):
            clock.now += 1
            yield item

    assert list(Lines(stream, clock).track(work(), "Working", 40, unit="files")) == list(range(40))
    lines = stream.getvalue().splitlines()
    assert lines[0] == "Working: 40 files"
    assert "Working: 20/40 files, 0:20 elapsed, about 0:20 left" in lines
    assert lines[-1] == "Working: 40/40 files, done in 0:40"
    assert len(lines) < 12


def test_lines_without_a_total():
    stream = io.StringIO()
    assert list(Lines(stream).track(iter("ab"), "Reading")) == ["a", "b"]
    assert stream.getvalue().splitlines() == ["Reading", "Reading: 2 clips, done in 0:00"]


def test_a_loop_that_takes_the_last_item_and_no_more_is_done():
    stream = io.StringIO()
    items = Lines(stream).track([1, 2], "Taking")
    assert [next(items), next(items)] == [1, 2]
    items.close()
    assert "2/2 clips, done" in stream.getvalue()


def test_an_error_in_the_loop_passes_through():
    def fail():
        yield 1
        raise ValueError("bad item")

    for progress in (Lines(io.StringIO()), Silent(), bars(io.StringIO())):
        with pytest.raises(ValueError, match="bad item"):
            list(progress.track(fail(), "Failing"))


def bars(stream: io.StringIO) -> TerminalBars:
    from rich.console import Console
    from rich.progress import Progress

    return TerminalBars(Progress(console=Console(file=stream, force_terminal=True, width=80)))


def test_bars_nest_and_take_notes():
    stream = io.StringIO()
    progress = bars(stream)
    for _ in progress.track([1, 2], "Outer"):
        for _ in progress.track([1, 2], "Inner [x]"):
            progress.note("noted [as it is]")
    list(progress.track([1], "Next"))
    assert "Outer" in stream.getvalue()
    assert stream.getvalue().count("noted [as it is]") == 4


def test_a_file_name_cannot_steer_the_terminal():
    stream = io.StringIO()
    Lines(stream).note("Skipped: \x1b[2Ja.wav")
    assert "\x1b" not in stream.getvalue() and "a.wav" in stream.getvalue()


def test_slow_bursts_do_not_fool_the_estimate():
    """Batches of eight that take a minute each, longer than the window: the first of a batch ends the wait for all."""
    now = [0.0]
    estimate = Estimate(160, clock=lambda: now[0])
    for item in range(80):
        if item % 8 == 0:
            now[0] += 60.0
        now[0] += 0.001
        estimate.advance()
        if item >= 40:
            assert estimate.left_s == pytest.approx((160 - item) * 60 / 8, rel=0.35)
