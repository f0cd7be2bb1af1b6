"""What a person sees of the predictions."""

from __future__ import annotations

from wspy.blocks import Block, Cell, Column, Table, Text
from wspy.figures import bars
from wspy_bigrams import Bigrams, Prediction, Token

_COLUMNS = (
    Column(name="#", description="Rank by probability."),
    Column(name="token", description="What follows, quoted, for a leading space is a part of it."),
    Column(name="id", description="Place in the vocabulary."),
    Column(name="logit", description="The decoder's score, before the softmax."),
    Column(name="p", description="Probability, after the prompt where there is one.", decimals=5),
    Column(name="p alone", description="Probability without a prompt.", decimals=5),
    Column(
        name="difference", unit="nats", description="Log-probability with the prompt minus that without: what it adds."
    ),
)


def page(result: Bigrams.Result) -> list[Block]:
    """What was asked, then for each prompt its table and bars, and the unprompted prediction last."""
    left_out = "Special tokens are left out" if result.suppressed else "Special tokens take part"
    blocks: list[Block] = [
        Text(
            markdown=f"# What {result.model} expects when it hears nothing\n\n"
            f"The decoder reads {_listed(result.start)} and the prompt, and hears padding only "
            f"(language {result.language}, task {result.task}). {left_out}."
        )
    ]
    if result.decoding:
        blocks.append(_chain_table(result))
    if len(result.predictions) > 1:
        blocks.append(_overview(result))
    for found in result.predictions:
        blocks += _one(found)
    blocks += _one(result.unprompted)
    return blocks


def shown(text: str) -> str:
    """In quotes, so that a leading space is seen; line breaks and the like written out."""
    return f"'{''.join(c if c.isprintable() else repr(c)[1:-1] for c in text)}'"


def _quoted(text: str) -> str:
    """In code, so that a leading space is seen and nothing is taken as markup; backticks need a longer fence."""
    fence = "``" if "`" in text else "`"
    pad = " " if "`" in text else ""
    return f"{fence}{pad}{shown(text)}{pad}{fence}"


def _listed(tokens: tuple[Token, ...]) -> str:
    return " ".join(f"`{token.text}`" for token in tokens)


def _one(found: Prediction) -> list[Block]:
    title = f"After {shown(found.prompt)}" if found.tokens else "Without a prompt"
    said = [f"## {f'After {_quoted(found.prompt)}' if found.tokens else title}"]
    if len(found.tokens) > 1:
        pieces = " ".join(f"{_quoted(token.text)} ({token.id})" for token in found.tokens)
        said.append(f"The prompt is {len(found.tokens)} tokens: {pieces}.")
    if found.tokens:
        said.append(
            f"The prompt moves the prediction by {found.kl:.2f} nats (Kullback-Leibler divergence); {found.shared} of "
            f"the {len(found.next)} most likely tokens are also most likely without it."
        )
    said.append(f"Among all tokens, a timestamp follows with {found.timestamps:.1%}, the end with {found.end:.1%}.")
    columns = _COLUMNS if found.tokens else _COLUMNS[:5]
    figure = bars(
        f"{title}: the most likely tokens",
        [shown(following.token.text) for following in found.next],
        [following.probability for following in found.next],
        x_title="probability",
        y_title="next token",
        caption="Each bar is the probability of a token to come next, from the prompt alone.",
    )
    return [Text(markdown="\n\n".join(said)), Table(title=title, columns=columns, rows=_rows(found)), figure]


def _rows(found: Prediction) -> tuple[tuple[Cell, ...], ...]:
    return tuple(
        (
            rank,
            shown(following.token.text),
            following.token.id,
            following.logit,
            following.probability,
            *((following.unprompted, following.difference) if found.tokens else ()),
        )
        for rank, following in enumerate(found.next, 1)
    )


def _overview(result: Bigrams.Result) -> Table:
    return Table(
        title="The prompts",
        columns=(
            Column(name="prompt", description="As typed."),
            Column(name="most likely", description="The five most likely tokens."),
            Column(name="p", description="Probability of the first of them.", decimals=3),
            Column(name="moved", unit="nats", description="Kullback-Leibler divergence from no prompt."),
        ),
        rows=tuple(
            (
                shown(found.prompt),
                " ".join(shown(following.token.text) for following in found.next[:5]),
                found.next[0].probability,
                found.kl,
            )
            for found in result.predictions
        ),
    )


def _chain_table(result: Bigrams.Result) -> Table:
    return Table(
        title=f"Written on, {result.decoding}",
        columns=(
            Column(name="prompt", description="As typed."),
            Column(name="text", description="The prompt and what the decoder wrote after it, hearing nothing."),
        ),
        rows=tuple((shown(found.prompt), shown(found.text)) for found in result.predictions),
    )
