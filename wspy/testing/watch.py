"""What an analysis leaves behind: in the model, in the process, on the disk."""

from __future__ import annotations

import contextlib
import io
import os
import random
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

    from wspy.model import Model

KEPT_BY_WSPY = ("assets", "atlases", "corpora", "models", "words")
"""Folders of WSPY_HOME that wspy itself fills, and that the next run reads."""
_KEPT_BY_LIBRARIES = ("torchinductor_",)
"""What begins like this in the temporary folder is the cache of a library, made when it is imported."""
_HOOKS = (
    "_forward_hooks",
    "_forward_pre_hooks",
    "_backward_hooks",
    "_backward_pre_hooks",
    "_state_dict_hooks",
)


@contextlib.contextmanager
def at_home(home: Path) -> Iterator[None]:
    """Another WSPY_HOME for a while."""
    before = os.environ.get("WSPY_HOME")
    os.environ["WSPY_HOME"] = str(home)
    try:
        yield
    finally:
        if before is None:
            os.environ.pop("WSPY_HOME", None)
        else:
            os.environ["WSPY_HOME"] = before


@contextlib.contextmanager
def scrambled(seed: int) -> Iterator[None]:
    """Other states of the global random numbers for a while: whoever uses them gives another result."""
    import numpy as np
    import torch

    before = random.getstate(), np.random.get_state()
    with torch.random.fork_rng(devices=[]):
        random.seed(seed)
        np.random.seed(seed)
        torch.manual_seed(seed)
        try:
            yield
        finally:
            random.setstate(before[0])
            np.random.set_state(before[1])


@contextlib.contextmanager
def watched(name: str, model: Model | None, home: Path, beside: Path) -> Iterator[None]:
    """Let something run in empty folders of its own, and see that it leaves nothing behind.

    Args:
        name: Who runs, for the message.
        model: The model that it may use, and must not change.
        home: Its WSPY_HOME; there wspy's own caches may grow, and nothing else.
        beside: A new folder whose parts stand in for the current and the temporary folder.

    Raises:
        AssertionError: what was left, and how to avoid it.
    """
    work, temporary = beside / "work", beside / "temporary"
    work.mkdir(parents=True)
    temporary.mkdir()
    before, cwd, tempdir = _State(model), Path.cwd(), tempfile.tempdir
    prepared = {*KEPT_BY_WSPY, *(path.name for path in home.iterdir())}
    said = io.StringIO()
    with at_home(home):
        os.chdir(work)
        tempfile.tempdir = str(temporary)
        try:
            with contextlib.redirect_stdout(said):
                yield
        finally:
            os.chdir(cwd)
            tempfile.tempdir = tempdir
    if text := said.getvalue().strip():
        raise AssertionError(f"{name}: it prints {text[:100]!r}: say it in a block, or with context.progress.note")
    before.check(name)
    for folder, what in ((work, "the current folder"), (temporary, "the temporary folder"), (home, "WSPY_HOME")):
        for left in sorted(folder.iterdir()):
            kept = left.name in prepared if folder == home else left.name.startswith(_KEPT_BY_LIBRARIES)
            if not kept:
                raise AssertionError(f"{name}: it leaves {left.name!r} in {what}: keep files with context.save")


class _State:
    """What must be as before: the model's hooks, weights and mode, and torch's own settings."""

    def __init__(self, model: Model | None) -> None:
        import torch

        self._model = model
        self._hooks = self._count_hooks()
        self._weights = {name: tensor.clone() for name, tensor in self._tensors()}
        self._settings = torch.is_grad_enabled(), torch.get_default_dtype(), torch.get_num_threads()

    def _tensors(self) -> Iterator[tuple[str, Tensor]]:
        yield from self._model.whisper.state_dict().items() if self._model else ()

    def _count_hooks(self) -> dict[str, int]:
        modules = self._model.whisper.named_modules() if self._model else ()
        return {name: sum(len(getattr(module, kind, ())) for kind in _HOOKS) for name, module in modules}

    def check(self, name: str) -> None:
        """Compare with now.

        Raises:
            AssertionError: what differs.
        """
        import torch

        for module, count in self._count_hooks().items():
            if count > self._hooks[module]:
                advice = "use `with wspy.capture(...)` and `with wspy.patch(...)`, which remove theirs"
                raise AssertionError(f"{name}: it leaves a hook on {module or 'the model'}: {advice}")
        for weight, tensor in self._tensors():
            if not torch.equal(tensor, self._weights[weight]):
                raise AssertionError(f"{name}: it changes the weights {weight}: use `with wspy.patch(...)` instead")
        if self._model and (self._model.whisper.training or any(p.requires_grad for p in self._parameters())):
            raise AssertionError(f"{name}: it leaves the model in training mode, or its weights with gradients")
        if self._settings != (torch.is_grad_enabled(), torch.get_default_dtype(), torch.get_num_threads()):
            raise AssertionError(f"{name}: it changes torch's gradients, default dtype or number of threads for all")

    def _parameters(self) -> Iterator[Tensor]:
        yield from self._model.whisper.parameters() if self._model else ()
