"""From prompts to predictions: one pass of the decoder over padding for all of them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor
from whisper.tokenizer import Tokenizer

from wspy.errors import EmptyPrompt, EnglishOnly, TooManyTokens, UnknownToken
from wspy.model import Model, TokenSequence, padding_features, teacher_force
from wspy_bigrams import Bigrams, Next, Prediction, Token

if TYPE_CHECKING:
    from jaxtyping import Float

    from wspy.analysis import Context

SPECIAL = re.compile(r"<\|[^|]*\|>")


def predict(inputs: Bigrams.Inputs, context: Context) -> Bigrams.Result:
    """The unprompted prediction and that of each prompt, with their chains."""
    model = context.model
    if inputs.task == "translate" and not model.is_multilingual:
        raise EnglishOnly(model.name, "translate")
    language = inputs.language or "en"
    tokenizer = model.tokenizer(language, inputs.task)
    start = tokenizer.sot_sequence if inputs.timestamps else tokenizer.sot_sequence_including_notimestamps
    if not inputs.prompt:
        raise EmptyPrompt
    prompts = [prompt_tokens(tokenizer, prompt) for prompt in inputs.prompt]
    for prompt, tokens in zip(inputs.prompt, prompts, strict=True):
        n_tokens = len(start) + len(tokens) + inputs.steps
        if n_tokens > model.dims.n_text_ctx:
            what = f"The prompt {prompt[:40]!r}" + (f" with {inputs.steps} steps" if inputs.steps else "")
            raise TooManyTokens(n_tokens, model.dims.n_text_ctx, what)
    logits = next_logits(model, [list(start), *([*start, *tokens] for tokens in prompts)])
    scored = _Scores(tokenizer, logits, inputs.suppress, inputs.top)
    chains = _chains(model, tokenizer, [[*start, *tokens] for tokens in prompts], inputs, context)
    return Bigrams.Result(
        model=model.name,
        language=tokenizer.language or "en",
        task=inputs.task,
        start=_tokens(tokenizer, start),
        suppressed=inputs.suppress,
        decoding=inputs.decoding if inputs.steps else "",
        unprompted=scored.prediction(0, "", [], []),
        predictions=tuple(
            scored.prediction(row, *given)
            for row, given in enumerate(zip(inputs.prompt, prompts, chains, strict=True), start=1)
        ),
    )


def prompt_tokens(tokenizer: Tokenizer, prompt: str) -> list[int]:
    """The tokens of a prompt, special ones in <| |> included.

    Raises:
        EmptyPrompt: not a single token.
        UnknownToken: a special token that the model does not have.
    """
    known: set[str] = tokenizer.encoding.special_tokens_set
    for special in SPECIAL.findall(prompt):
        if special not in known:
            raise UnknownToken(special, known)
    tokens: list[int] = tokenizer.encode(prompt, allowed_special="all")
    if not tokens:
        raise EmptyPrompt
    return tokens


@torch.no_grad()
def next_logits(model: Model, sequences: Sequence[Sequence[int]]) -> Float[Tensor, "batch n_vocab"]:
    """The decoder's scores for what follows each sequence while it hears padding, in double precision on the CPU."""
    features = padding_features(model).expand(len(sequences), -1, -1)
    read = teacher_force(model, features, [TokenSequence(tuple(ids), len(ids)) for ids in sequences])
    last = torch.tensor([len(ids) - 1 for ids in sequences], device=read.logits.device)
    rows: Tensor = read.logits[torch.arange(len(sequences), device=last.device), last]
    return rows.float().cpu().double()


def _tokens(tokenizer: Tokenizer, ids: Sequence[int]) -> tuple[Token, ...]:
    return tuple(Token(id=token, text=_text(tokenizer, token)) for token in ids)


def _text(tokenizer: Tokenizer, token: int) -> str:
    """What one token writes, a piece of a character too."""
    written: bytes = tokenizer.encoding.decode_single_token_bytes(token)
    return written.decode("utf-8", errors="backslashreplace")


def _suppressed(tokenizer: Tokenizer, logits: Float[Tensor, "batch n_vocab"]) -> Float[Tensor, "batch n_vocab"]:
    """Without the special tokens: in every Whisper vocabulary they are the end of the text and all that follow it."""
    return logits.index_fill(-1, torch.arange(tokenizer.eot, logits.shape[-1]), -torch.inf)


class _Scores:
    """The distributions after several sequences, the first of them unprompted."""

    def __init__(self, tokenizer: Tokenizer, logits: Float[Tensor, "batch n_vocab"], suppress: bool, top: int) -> None:
        self.tokenizer, self.logits = tokenizer, logits
        self.plain = logits.softmax(-1)
        self.log_p = (_suppressed(tokenizer, logits) if suppress else logits).log_softmax(-1)
        self.top = self.log_p.topk(top).indices.tolist()

    def prediction(self, row: int, prompt: str, tokens: Sequence[int], chain: Sequence[int]) -> Prediction:
        log_p, unprompted = self.log_p[row], self.log_p[0]
        possible = log_p.isfinite()
        gain = (log_p - unprompted)[possible]
        return Prediction(
            prompt=prompt,
            tokens=_tokens(self.tokenizer, tokens),
            timestamps=float(self.plain[row, self.tokenizer.timestamp_begin :].sum()),
            end=float(self.plain[row, self.tokenizer.eot]),
            next=tuple(self._next(row, token) for token in self.top[row]),
            kl=max(float((log_p[possible].exp() * gain).sum()), 0.0),
            shared=len(set(self.top[row]) & set(self.top[0])),
            chain=_tokens(self.tokenizer, chain),
            text=prompt + self.tokenizer.decode_with_timestamps(list(chain)),
        )

    def _next(self, row: int, token: int) -> Next:
        here, unprompted = float(self.log_p[row, token]), float(self.log_p[0, token])
        return Next(
            token=Token(id=token, text=_text(self.tokenizer, token)),
            logit=float(self.logits[row, token]),
            probability=float(np.exp(here)),
            unprompted=float(np.exp(unprompted)),
            difference=here - unprompted,
        )


def _chains(
    model: Model, tokenizer: Tokenizer, sequences: list[list[int]], inputs: Bigrams.Inputs, context: Context
) -> list[list[int]]:
    """What the decoder writes after each sequence, until its end or `steps` tokens."""
    chains: list[list[int]] = [[] for _ in sequences]
    for _ in context.progress.track(range(inputs.steps), "Writing on", inputs.steps, "tokens"):
        going = [i for i, chain in enumerate(chains) if not chain or chain[-1] != tokenizer.eot]
        if not going:
            break
        logits = next_logits(model, [sequences[i] + chains[i] for i in going])
        logits = _suppressed(tokenizer, logits) if inputs.suppress else logits
        for i, row in zip(going, logits, strict=True):
            if inputs.decoding == "greedy":
                chains[i].append(int(row.argmax()))
            else:
                weights = (row / inputs.temperature).softmax(-1).numpy()
                chains[i].append(int(context.rng.choice(len(weights), p=weights / weights.sum())))
    return chains
