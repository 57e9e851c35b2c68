"""How well words alone say what a class looks like: 200 classes of ImageNet are left out, five times.

    python examples/recipes/lite/words_left_out.py --data DIR --run runs/lite

The classifier's rows of the 200 take no part; each name is then to find its own row among the 200, as it is or, for the
others, whitened as the joint space is. Printed for the teacher, which knows the synset, for the lexicon, which chooses
the sense by the name and is compressed, and with
``--spelling`` for the network that knows the names by their subwords alone (a quarter of an hour, first 200 only).
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import tomllib
from pathlib import Path

import numpy as np
import torch

sys.path.append(str(Path(__file__).parent))
import make as recipe
from features import photo_features
from nouns import Nouns, plain
from senses import sense_of
from sentences import sentence_vectors
from student import compressed, distil, subword_vocabulary
from teacher import Described, Teacher, sentence, tree, unit
from wordnet import WordNet

from clipx.backbone import build_model
from clipx.lexicon import Lexicon
from clipx.training import TrainConfig

FOLDS = 5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--run", type=Path, required=True, help="the folder of a run, whose features are taken")
    parser.add_argument("--spelling", action="store_true", help="also train the reader of subwords without the names")
    args = parser.parse_args()
    plan = tomllib.loads(Path(__file__).with_name("recipe.toml").read_text())
    wordnet, cache = WordNet(), args.run / "cache"
    trunk = recipe.efficientnet("lite0")
    classifier = trunk.classifier.weight.detach().double().numpy()
    trunk.classifier = torch.nn.Identity()
    photos = recipe.Photos.read(args.data / "images", set())
    features = photo_features(trunk, "lite0", 224, photos.paths, cache / "features").astype(np.float64)
    head = recipe.PhotoHead(features, classifier, photos.names, plan["model"]["embed_dim"])
    rows, classes = unit(head.rows), recipe.imagenet()
    names = [plain(name) for name, _ in classes]

    def described(offsets: list[str | None]) -> Described:
        texts = [sentence(name, offset, wordnet) for name, offset in zip(names, offsets, strict=True)]
        return Described(sentence_vectors(texts, cache / "sentences").astype(np.float64), tree(offsets, wordnet))

    known = described([offset for _, offset in classes])
    guessed = described([sense_of(name, wordnet) for name in names])
    fold = np.empty(len(names), int)
    fold[np.random.default_rng(0).permutation(len(names))] = np.arange(len(names)) % FOLDS
    plain_rows = unit(classifier - classifier.mean(0))
    names_of = ("teacher among the classifier's own rows", "teacher, sense known", "lexicon, sense chosen by the name")
    ranks: dict[str, list[np.ndarray]] = {name: [] for name in names_of}
    for left in range(FOLDS):
        kept, out = np.where(fold != left)[0], np.where(fold == left)[0]
        before = Teacher(known[kept], plain_rows[kept], known[kept])(known[out])
        ranks[names_of[0]].append(ranks_of(before, plain_rows[out]))
        teacher = Teacher(known[kept], rows[kept], known[kept])
        coded = teacher(guessed)
        codes, matrix, offset = compressed(coded, plan["model"]["text_cfg"]["basis"])
        for name, found in (("teacher, sense known", teacher(known[out])),
                            ("lexicon, sense chosen by the name", unit((codes @ matrix.T + offset)[out]))):  # fmt: skip
            ranks[name].append(ranks_of(found, rows[out]))
        if args.spelling and left == 0:
            ranks["subwords alone"] = [ranks_of(spelt(teacher, names, out, plan, cache, wordnet), rows[out])]
    for name, found_ranks in ranks.items():
        rank = np.concatenate(found_ranks)
        print(f"{name}: n = {len(rank)}, top-1 {100 * (rank < 1).mean():.1f}, top-5 {100 * (rank < 5).mean():.1f}")


def ranks_of(found: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """How many of the rows are nearer to each direction than its own."""
    cosines = found @ rows.T
    return (cosines > np.diag(cosines)[:, None]).sum(1)


def spelt(teacher: Teacher, names: list[str], out: np.ndarray, plan: dict, cache: Path, wordnet: WordNet) -> np.ndarray:
    """Directions of the names left out, by a reader of subwords that trained on every other phrase of WordNet."""
    nouns: Nouns = recipe.collect(recipe.imagenet(), [], wordnet)
    texts = [sentence(name, offset, wordnet) for name, offset in zip(nouns.names, nouns.offsets, strict=True)]
    sentences = sentence_vectors(texts, cache / "sentences").astype(np.float64)
    vectors = teacher(Described(sentences, tree(nouns.offsets, wordnet))).astype(np.float32)
    hidden = set(out.tolist())
    phrases = {phrase: number for phrase, number in nouns.phrases.items() if number not in hidden}
    model_cfg = json.loads(json.dumps(plan["model"])) | {"embed_dim": vectors.shape[1]}
    spelling = subword_vocabulary(list(phrases))
    model_cfg["text_cfg"] |= {"seen": 1000, "phrases": len(vectors), "subwords": len(spelling)}
    text = build_model(model_cfg, 0).text
    lexicon = Lexicon(phrases, spelling, 1000, len(vectors))
    with tempfile.TemporaryDirectory() as work:
        config = TrainConfig(**plan["student"], seed=0)
        distil(text, lexicon, torch.from_numpy(vectors), config, Path(work), False, {})
    unknown = Lexicon({}, spelling, 0, 0)
    with torch.no_grad():
        return torch.nn.functional.normalize(text(unknown([names[i] for i in out])), dim=1).double().numpy()


if __name__ == "__main__":
    main()
