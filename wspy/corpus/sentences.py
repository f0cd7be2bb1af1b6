"""A small grammar of English whose sentences cover every phoneme well, the rare ones included.

The word lists lean towards what is rare in running text: ZH (measure, garage), OY (boy, noisy), UH (book, cushion), TH
and DH, CH and JH, Y. They also span kinds of meaning (food, animals, names, numbers, motion, places, weather), so that
what a decoder does with meaning can be studied on them.
"""

from __future__ import annotations

import re

import numpy as np

_LISTS = {
    "name": (
        "George, Joyce, Keith, Roy, Judith, Zoe, Theo, Martha, Hugh, Beth, Vera, Floyd, Julia, Ruth, Matthew, "
        "Joy, Charlotte, Arthur, Yolanda, Oscar, Paul, Chuck, Sheila, Virginia"
    ),
    "person": (
        "teacher, judge, young boy, old fisherman, royal guard, chef, cheerful nurse, shy youth, toy maker, "
        "musician, lawyer, good cook, magician, mother, brother, father, tall thief, jolly sailor"
    ),
    "animal": (
        "fox, horse, puppy, goose, turtle, zebra, giraffe, mouse, yak, cheetah, wolf, butterfly, owl, spider, "
        "thrush, bull, oyster"
    ),
    "food": (
        "orange juice, chocolate, toast, sugar cookies, yogurt, fried sausage, oysters, mushroom broth, cherry "
        "pie, boiled rice, fish soup, ginger cake, cheese, spinach, soy beans, pudding, garlic bread, peaches"
    ),
    "thing": (
        "treasure, book, measuring cup, television, jacket, feather, coin, toy bridge, beige cushion, camera, "
        "yellow umbrella, watch, thick rope, wooden box, leather pouch, joystick, hook, oil lamp, violin, mirror"
    ),
    "adjective": (
        "unusual, joyful, noisy, huge, tiny, smooth, good, rough, thin, casual, beige, gentle, shiny, spoiled, "
        "young, useful, healthy, azure, annoying, wonderful, cheap"
    ),
    "place": (
        "garage, church, beach, kitchen, bathroom, museum, village, valley, theater, woods, harbor, zoo, college, "
        "south field, bookshop, youth club, north road, oil factory, brook"
    ),
    "moved": (
        "jumped, rushed, climbed, crawled, marched, dashed, rolled, hurried, wandered, bounced, drove, flew, "
        "swam, slid, hopped, galloped, tiptoed, charged, pushed"
    ),
    "moving": (
        "jumping, running, climbing, marching, rolling, wandering, bouncing, flying, swimming, hopping, pushing, "
        "charging"
    ),
    "path": "into, through, towards, across, around, over, past, away from",
    "took": (
        "chose, found, measured, enjoyed, pushed, destroyed, carried, watched, painted, threw, shook, sold, "
        "borrowed, touched, pulled, fetched"
    ),
    "ate": "cooked, tasted, chewed, enjoyed, boiled, shared, baked, ordered, swallowed",
    "number": (
        "two, three, four, five, six, seven, eight, nine, thirteen, twenty five, thirty three, forty seven, sixty "
        "eight, a hundred, a thousand"
    ),
    "animals": "foxes, horses, puppies, geese, turtles, zebras, oysters, wolves, owls, sheep, bulls",
    "idea": (
        "vision, pleasure, decision, joy, confusion, leisure, choice, division, truth, illusion, collision, "
        "health, knowledge, courage, explosion"
    ),
    "weather": "thunder, sunshine, fog, frost, rain, a huge storm, moisture, a cool breeze, thick snow",
    "when": (
        "yesterday, this morning, on Thursday, at noon, in July, last month, as usual, on that occasion, before "
        "the show, after the invasion, in the nineteenth year, with pleasure"
    ),
    "body": "shoulder, mouth, foot, thumb, tooth, ear, cheek, jaw, thigh, elbow",
}
WORDS: dict[str, tuple[str, ...]] = {kind: tuple(words.split(", ")) for kind, words in _LISTS.items()}

TEMPLATES = (
    "{name} {moved} {path} the {place} {when}.",
    "The {adjective} {animal} {moved} {path} the {place}.",
    "The {person} {took} the {adjective} {thing} {when}.",
    "{name} and {name} {ate} {food} in the {place}.",
    "The {person} {ate} {adjective} {food} with {name}.",
    "{number} {animals} {moved} {path} the {place}.",
    "There was {weather} {path} the {place} {when}.",
    "Should we measure the {thing} or the {adjective} {thing}?",
    "It was a {adjective} decision, and {name} {took} the {thing}.",
    "{name} was {moving} {path} the {place} with {number} {animals}.",
    "The young king was singing in the {place} {when}.",
    "{name} put {number} {animals} in the garage {when}.",
    "The {idea} of the {person} gave {name} great joy.",
    "Would you push the {thing} {path} the {place}?",
    "My {body} hurts, said the {person} to the {animal}.",
    "They could hear {weather} and the {adjective} {animal}.",
    "{when}, the {person} {moved} {path} the {adjective} {place}.",
    "We looked for {idea}, but we found {food}.",
    "Both the {animal} and the {animal} {took} a {thing}.",
    "You took {number} {animals} for the {adjective} {person}.",
    "The boy's voice was {adjective}, yet {name} enjoyed the television.",
    "{name} usually {ate} {food} with {number} {animals}.",
)


def sentence(rng: np.random.Generator) -> str:
    """One sentence, drawn at random."""
    template = TEMPLATES[rng.integers(len(TEMPLATES))]

    def fill(match: re.Match[str]) -> str:
        words = WORDS[match.group(1)]
        return words[rng.integers(len(words))]

    text = re.sub(r"\{(\w+)\}", fill, template)
    text = re.sub(r"\b([Aa]) (?=[aeio]|un)", r"\1n ", text)
    return text[0].upper() + text[1:]
