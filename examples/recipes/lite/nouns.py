"""The lexicon: which phrases there are, which of them share a vector, and what each is described by."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from senses import reviewed_names, sense_of
from wordnet import ARTIFACT, DEPICTABLE, WordNet

from clipx.lexicon import LONGEST, STOPS, plain_words

TAXA = {"genus", "family", "order", "class", "phylum", "division", "suborder", "superfamily", "subfamily", "tribe"}


@dataclass
class Nouns:
    """N meanings, in the order of their vectors.

    Attributes:
        phrases: lower-case phrase -> number of its meaning.
        names: (N,) what each is called in the sentence that describes it.
        offsets: (N,) its synset, if WordNet has it.
        seen: how many, the first, have pictures in training.
        things: how many, the first, can stand in a picture.
    """

    phrases: dict[str, int]
    names: list[str]
    offsets: list[str | None]
    seen: int
    things: int


def collect(imagenet: list[tuple[str, str]], shown: Iterable[tuple[str, tuple[str, ...]]], wordnet: WordNet) -> Nouns:
    """The names of pictures first, then every noun of WordNet that can be seen, then the commoner of the others.

    Args:
        imagenet: (name, synset) of the 1,000 classes; they get the numbers 0 to 999.
        shown: concepts with training pictures: (name, other names).
        wordnet: of them all.
    """
    phrases: dict[str, int] = {}
    names = [plain(name) for name, _ in imagenet]
    offsets: list[str | None] = [offset for _, offset in imagenet]
    numbers: dict[str, int] = {}  # synset or name -> number
    for i, (name, offset) in enumerate(imagenet):
        numbers.setdefault(offset, i)
        phrases.setdefault(plain(name), i)
    synonyms = []
    for name, others in shown:
        offset = sense_of(name, wordnet)
        own = offset is not None and offset in wordnet.senses(name)
        key = offset if own and offset is not None else plain(name)
        number = phrases.get(plain(name), numbers.get(key))
        if number is None:
            number = len(names)
            names.append(plain(name))
            offsets.append(offset)
        numbers.setdefault(key, number)
        phrases.setdefault(plain(name), number)
        synonyms += [(plain(other), number) for other in others]
    for other, number in synonyms:
        phrases.setdefault(other, number)
    seen = len(names)
    tagged = common(wordnet)
    things = 0
    reviewed = {sense_of(name, wordnet): name for name in reviewed_names()}
    for depictable in (True, False):
        for offset, synset in wordnet.synsets.items():
            wanted = depictable or offset in tagged
            named = not synset.instance or synset.file == ARTIFACT or offset in reviewed
            named = named and not is_taxon(offset, wordnet)
            if (synset.file in DEPICTABLE) == depictable and wanted and named:
                new = offset not in numbers
                number = numbers.get(offset, len(names))
                before = len(phrases)
                for lemma in synset.lemmas:
                    phrase = plain(lemma)
                    if is_phrase(phrase) and phrase not in phrases and sense_of(lemma, wordnet) == offset:
                        phrases[phrase] = number
                if new and len(phrases) > before:
                    numbers[offset] = number
                    names.append(synset.lemmas[0])
                    offsets.append(offset)
        things = len(names) if depictable else things
    for name in reviewed_names():
        number = numbers.get(sense_of(name, wordnet) or "")
        if number is not None and is_phrase(plain(name)):
            phrases.setdefault(plain(name), number)
    return Nouns(phrases, names, offsets, seen, things)


def is_taxon(offset: str, wordnet: WordNet) -> bool:
    """Whether a synset is a scientific group, such as Emberiza (a bird genus), which nobody looks for in photos."""
    return any(name.split()[-1] in TAXA for name in wordnet.chain(offset, 1))


def common(wordnet: WordNet) -> set[str]:
    """Synsets that occur in WordNet's tagged texts."""
    found: set[str] = set()
    for line in (wordnet.folder / "index.noun").read_text(encoding="latin1").splitlines():
        if not line.startswith("  "):
            part = line.split()
            senses, tagged = int(part[2]), int(part[-int(part[2]) - 1])
            found.update(part[-senses:][:tagged])
    return found


def is_phrase(phrase: str) -> bool:
    """Whether the tokenizer can find it, and finds nothing else by it."""
    words = phrase.split()
    spelt = all(word.isalnum() or "'" in word for word in words)
    short = len(phrase) < 3 and phrase not in ("ox", "tv", "pc", "cd", "pi")
    return spelt and not short and len(words) <= LONGEST and not all(w in STOPS for w in words)


def plain(name: str) -> str:
    """As the tokenizer joins words."""
    return " ".join(plain_words(name))
