"""A control for every number of a dictionary: random directions that fire as often.

Published work finds that features of random dictionaries are nearly as easy to label as learned ones, and reconstruct
more than one would think. Here the decoder's rows are random directions, the encoder is the same directions with signs
as they are, b_dec is the mean of the activations, and each feature's threshold is set so that it fires as
often as the feature of the same number does over some activations. So L0 and the densities are those of the
dictionary, and whatever it does better, it does by its directions. Reconstruction is the best that a single gain for
all features can do.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from wspy_sae.dictionary import Dictionary

if TYPE_CHECKING:
    from jaxtyping import Float


@torch.no_grad()
def random_like(dictionary: Dictionary, activations: Float[Tensor, "frame d_in"], seed: int = 0) -> Dictionary:
    """Random directions that fire as often as a dictionary's features do over these activations."""
    config = dictionary.config.model_copy(
        update={"architecture": "jumprelu", "trained_as": "random", "tied": False, "apply_b_dec_to_input": True}
    )
    control = Dictionary(config)
    generator = torch.Generator().manual_seed(seed)
    directions = torch.randn(config.d_sae, config.d_in, generator=generator)
    directions /= directions.norm(dim=1, keepdim=True)
    mean = activations.mean(dim=0)
    control.W_enc.copy_(directions.t())
    control.b_dec.copy_(mean)
    centred = activations - mean
    counts = torch.zeros(config.d_sae, dtype=torch.int64)
    for x in torch.split(activations, 4096):
        counts += (dictionary.encode(x) > 0).sum(dim=0)
    for first in range(0, config.d_sae, 256):  # so many columns at once bound the memory
        some = slice(first, first + 256)
        ordered = (centred @ directions[some].t()).sort(dim=0, descending=True).values
        at = counts[some].clamp_max(len(ordered) - 1)
        levels = torch.where(counts[some] > 0, ordered.gather(0, at[None])[0], ordered[0].clamp_min(0) + 1)
        control.threshold[some] = levels.clamp_min(0)
        control.b_enc[some] = -levels.clamp_max(0)  # lifts what fires in more than half of the frames
    # The length of the rows decides how much is reconstructed: the gain with the least squared error.
    control.W_dec.copy_(directions)
    above = below = 0.0
    for x in torch.split(centred, 4096):
        guess = control.encode(x + mean) @ directions
        above, below = above + float((guess * x).sum()), below + float(guess.pow(2).sum())
    gain = above / below if below else 1.0
    for part in (control.W_enc, control.b_enc, control.threshold):
        part.mul_(gain)
    return control


def keep_random(like: str, name: str, seed: int) -> Path:
    """Make the control of a kept dictionary over the corpus that it was trained on, and keep it too.

    Raises:
        UnknownDictionary, AlreadyTrained, UnknownCorpus: a name that is not there, or taken.
        BadTraining: the dictionary came from elsewhere, so there is no corpus to count over.
    """
    import wspy
    from wspy.progress import Silent
    from wspy_sae.store import dictionary_folder, load_dictionary, save_dictionary
    from wspy_sae.stream import ModelSource
    from wspy_sae.train_errors import AlreadyTrained, BadTraining
    from wspy_sae.trained import read_record

    dictionary, record = load_dictionary(like), read_record(like)
    if dictionary_folder(name).exists():
        raise AlreadyTrained(name)
    if record is None:
        raise BadTraining("--like", repr(like), "wspy did not train it, so it has no corpus to count over")
    model, corpus = wspy.load_model(record.model), wspy.open_corpus(record.corpus)
    config = dictionary.config
    source = ModelSource(model, corpus, corpus.clips, config.site, config.d_in, record.settings.speed)

    activations = source.read(range(len(corpus.clips)), Silent())
    return save_dictionary(random_like(dictionary, activations, seed), name)
