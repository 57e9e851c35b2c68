"""Few-shot classifiers: the released code's own outputs, literal transcriptions, and the promises of the docstrings."""

import dataclasses
import functools
import itertools
import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch.nn.functional import normalize

from clipx.embedding import Embedding
from clipx.errors import FileError, InputError, SpaceMismatchError
from clipx.fewshot import (
    APE,
    CLAP,
    AdapterConfig,
    AdapterNetwork,
    APETrained,
    CacheModel,
    GaussianDiscriminant,
    InterViewAdapter,
    LinearProbe,
    ProLIP,
    Prototype,
    TipAdapterF,
    ViewSearch,
    few_shot_draw,
    fit_shots,
    load_classifier,
    smoothed_cross_entropy,
)

GOLDEN = Path(__file__).parent / "golden" / "pointclip_adapter.npz"  # what the released code returned
LABELS, DIM, VIEWS, SCALE = ("chair", "night stand", "bed"), 8, 4, 5.0
QUICK = AdapterConfig(epochs=60, batch_size=8)


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """Matrices this small only wait for one another on several threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def golden():
    with np.load(GOLDEN) as file:
        return {key: torch.from_numpy(file[key]) for key in file.files}


def unit(seed: int, *shape: int) -> torch.Tensor:
    return normalize(torch.randn(*shape, generator=torch.Generator().manual_seed(seed)), dim=-1)


def embedding(vectors: torch.Tensor, space: str = "toy") -> Embedding:
    return Embedding(vectors, space, "pointcloud")


TEXT = Embedding(unit(0, 3, DIM), "toy", "text", LABELS)
TARGETS = torch.arange(18) % 3
CENTRES = unit(1, 3, VIEWS, DIM)  # a class looks different from every side


def sample_views(seed: int, targets: torch.Tensor = TARGETS) -> torch.Tensor:
    """(N, V, D): about the class's own views, which have nothing to do with the text."""
    return normalize(CENTRES[targets] + 0.3 * unit(seed, len(targets), VIEWS, DIM), dim=-1)


def pooled(seed: int) -> Embedding:
    return embedding(normalize(sample_views(seed).mean(1), dim=1))


def stacked(views: torch.Tensor) -> Embedding:
    return embedding(views.flatten(0, 1))


@functools.cache
def fitted(kind: str, again: int = 0):
    """A classifier of that kind, and an embedding of 18 things that it can read."""
    kind, _, seen = kind.partition(" of ")
    views, shots, things = (
        (VIEWS, stacked(sample_views(2)), stacked(sample_views(3))) if seen else (1, pooled(2), pooled(3))
    )
    if kind == "cache":
        return CacheModel.fit(shots, TARGETS, TEXT, SCALE, views), things
    if kind == "linear_probe":
        return LinearProbe.fit(shots, TARGETS, LABELS, views, c=1.0), things
    if kind == "gda":
        return GaussianDiscriminant.fit(shots, TARGETS, LABELS, TEXT, SCALE, views), things
    if kind == "prototype":
        return Prototype.fit(shots, TARGETS, LABELS, SCALE, views), things
    if kind in (BESIDE := {"tip_adapter_f": TipAdapterF, "ape": APE, "ape_t": APETrained, "clap": CLAP}):
        return BESIDE[kind].fit(shots, TARGETS, TEXT, SCALE, views), things
    if kind == "prolip":
        return ProLIP.fit(shots, TARGETS, TEXT, SCALE, views, lr=1e-2), things
    if kind == "view_search":
        return ViewSearch.fit(stacked(sample_views(2)), TARGETS, TEXT, SCALE, VIEWS), stacked(sample_views(3))
    return InterViewAdapter.fit(stacked(sample_views(2)), TARGETS, TEXT, SCALE, VIEWS, QUICK), stacked(sample_views(3))


LEARNERS = ["cache", "cache of views", "linear_probe", "linear_probe of views", "inter_view_adapter"]
LEARNERS += ["gda", "gda of views", "prototype", "tip_adapter_f", "ape", "ape of views", "ape_t", "clap"]
each = pytest.mark.parametrize("kind", [*LEARNERS, "view_search", "prolip", "clap of views"])

# What all of them promise.


@each
def test_predictions_are_the_softmax_of_the_logits(kind):
    classifier, things = fitted(kind)
    assert classifier.kind == kind.split()[0] and classifier.labels == LABELS and classifier.space_id == "toy"
    assert (
        classifier.settings["views"] == classifier.views == len(things) // 18 and classifier.settings["samples"] == 18
    )
    logits, rows = classifier.logits(things), classifier.predict(things)
    assert logits.shape == (18, 3) and len(rows) == 18
    for scores, shares, row in zip(logits, logits.softmax(1), rows, strict=True):
        assert [p.label for p in row] == [LABELS[k] for k in scores.argsort(descending=True)]
        assert [p.rank for p in row] == [1, 2, 3]
        assert [p.probability for p in row] == pytest.approx(shares.sort(descending=True).values.tolist())
        assert all(-1 <= p.cosine <= 1 for p in row)
    assert [row[0] for row in rows] == [row[0] for row in classifier.predict(things, top_k=1)]
    assert classifier.predict(things[:0]) == []
    with pytest.raises(InputError, match="top must be at least 1"):
        classifier.predict(things, top_k=0)


@pytest.mark.parametrize("kind", LEARNERS)
def test_it_learns_what_the_text_does_not_know(kind):
    assert (pooled(3).similarity(TEXT).argmax(1) == TARGETS).float().mean() < 0.5  # a random text
    classifier, things = fitted(kind)
    assert (classifier.logits(things).argmax(1) == TARGETS).float().mean() > 0.9


@each
def test_the_same_data_and_seed_give_the_same_bits(kind):
    first, things = fitted(kind)
    torch.manual_seed(99)  # the process's own generator neither matters nor moves
    before = torch.get_rng_state()
    second, _ = fitted(kind, again=1)
    assert torch.equal(first.logits(things), second.logits(things)) and first.settings == second.settings
    assert torch.equal(torch.get_rng_state(), before)


@each
def test_saved_and_loaded(kind, tmp_path):
    classifier, things = fitted(kind)
    path = classifier.save(tmp_path / "new" / "it.safetensors")
    again = load_classifier(path)
    assert type(again) is type(classifier) and again.labels == LABELS and again.space_id == "toy"
    assert again.settings == json.loads(json.dumps(classifier.settings))
    assert torch.equal(again.logits(things), classifier.logits(things))
    assert again.predict(things) == classifier.predict(things)
    assert [p.name for p in path.parent.iterdir()] == ["it.safetensors"]
    assert again.save(tmp_path / "twice.safetensors").read_bytes() == path.read_bytes()


@each
def test_gradients_flow_to_the_vectors(kind):
    classifier, things = fitted(kind)
    vectors = torch.tensor(things.vectors, requires_grad=True)
    logits = classifier.logits(vectors)
    assert torch.equal(logits, classifier.logits(things))
    logits[:, 0].sum().backward()
    assert (vectors.grad.abs().sum(1) > 0).all()


@each
def test_one_thing_s_answer_does_not_depend_on_the_others(kind):
    classifier, things = fitted(kind)
    rows = classifier.views
    alone = torch.cat([classifier.logits(things[i : i + rows]) for i in range(0, len(things), rows)])
    torch.testing.assert_close(alone, classifier.logits(things), atol=1e-4, rtol=1e-5)


@each
def test_vectors_it_cannot_read_are_refused(kind):
    classifier, things = fitted(kind)
    with pytest.raises(SpaceMismatchError, match="space other with those of space toy"):
        classifier.logits(embedding(things.vectors, "other"))
    with pytest.raises(InputError, match=r"vectors must be \(N, 8\)"):
        classifier.predict(embedding(unit(0, VIEWS, DIM + 1)))


@pytest.mark.parametrize(
    ("targets", "message"),
    [
        (TARGETS[:-1], "17 targets for 18 samples"),
        ([], "0 targets"),
        (torch.zeros(18, dtype=torch.long), "classes without a sample: night stand, bed"),
        (TARGETS + 1, r"targets must be in \[0, 3\), got 1 to 3"),
        (TARGETS - 1, r"got -1 to 1"),
        (TARGETS.float(), "one row of integers"),
        ([math.nan] * 18, "one row of integers"),
        (["chair"] * 18, "one row of integers"),
        (TARGETS[:, None], "one row of integers"),
        (TARGETS == 0, "one row of integers"),
    ],
)
def test_unusable_targets_are_refused(targets, message):
    for fit in (
        lambda: CacheModel.fit(pooled(2), targets, TEXT, SCALE),
        lambda: LinearProbe.fit(pooled(2), targets, LABELS, c=1.0),
        lambda: GaussianDiscriminant.fit(pooled(2), targets, LABELS),
        lambda: Prototype.fit(pooled(2), targets, LABELS),
        lambda: InterViewAdapter.fit(stacked(sample_views(2)), targets, TEXT, SCALE, VIEWS, QUICK),
    ):
        with pytest.raises(InputError, match=message) as error:
            fit()
        assert "\n" not in str(error.value)


def test_unusable_classes_spaces_and_numbers_are_refused():
    views, other = stacked(sample_views(2)), Embedding(TEXT.vectors, "other", "text", LABELS)
    for one in (TEXT[:1], TEXT[[0, 0, 1]]):
        for fit in (
            lambda one=one: CacheModel.fit(pooled(2), TARGETS, one, SCALE),
            lambda one=one: LinearProbe.fit(pooled(2), TARGETS, one.ids, c=1.0),
            lambda one=one: InterViewAdapter.fit(views, TARGETS, one, SCALE, VIEWS, QUICK),
        ):
            with pytest.raises(InputError, match="at least two classes, all different"):
                fit()
    with pytest.raises(SpaceMismatchError):
        CacheModel.fit(pooled(2), TARGETS, other, SCALE)
    with pytest.raises(SpaceMismatchError):
        InterViewAdapter.fit(views, TARGETS, other, SCALE, VIEWS, QUICK)
    for scale in (0, math.nan, math.inf):
        with pytest.raises(InputError, match="logit_scale"):
            CacheModel.fit(pooled(2), TARGETS, TEXT, scale)
    for beyond in ({"alpha": -1}, {"beta": math.nan}):
        with pytest.raises(InputError, match="alpha and beta"):
            CacheModel(pooled(2), TARGETS, TEXT, SCALE, **beyond)
    with pytest.raises(InputError, match="finite and of unit norm"):
        embedding(torch.full((18, DIM), math.nan))  # so no classifier ever sees NaN


def test_files_that_are_none_are_refused(tmp_path):
    classifier, _ = fitted("linear_probe")
    path = classifier.save(tmp_path / "it.safetensors")
    whole = path.read_bytes()
    with pytest.raises(FileError, match="suffix"):
        classifier.save(tmp_path / "it.pt")
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(FileError, match="cannot be written"):
        classifier.save(tmp_path / "file" / "it.safetensors")
    for data in (whole[:-5], whole[:40], b"\0" * 100, whole.replace(b"linear_probe", b"linear_prune")):
        path.write_bytes(data)
        with pytest.raises(FileError, match="is no few-shot classifier") as error:
            load_classifier(path)
        assert "\n" not in str(error.value)
    for missing in (tmp_path / "gone.safetensors", tmp_path / "file"):
        with pytest.raises(FileError):
            load_classifier(missing)


def edited(path, tensors=None, **facts):
    """The file of a classifier with other tensors or facts."""
    with safe_open(path, "pt") as file:
        about = json.loads(file.metadata()["clipx"])
    save_file({**load_file(path), **(tensors or {})}, path, {"clipx": json.dumps({**about, **facts})})
    return path


@pytest.mark.parametrize(
    "facts",
    [
        *({"views": views} for views in (None, "x", 0, True)),
        *({"labels": labels} for labels in ([1, 2], "ab")),
        {"space_id": 3},
        {"settings": None},
    ],
    ids=str,
)
def test_files_with_facts_of_other_types_are_refused(facts, tmp_path):
    weight, bias = unit(0, 2, DIM), torch.zeros(2)
    path = Prototype(["a", "b"], "toy", weight, bias).save(tmp_path / "it.safetensors")
    load_classifier(edited(path))
    with pytest.raises(FileError, match="is no few-shot classifier") as error:
        load_classifier(edited(path, **facts))
    assert "\n" not in str(error.value)


def test_tensors_of_files_are_finite_and_float32(tmp_path):
    text = Embedding(unit(0, 3, DIM).numpy(), "toy", "text", ["a", "b", "c"])
    path = TipAdapterF.fit(embedding(unit(1, 6, DIM)), [0, 1, 2] * 2, text, 100.0, epochs=1).save(
        tmp_path / "it.safetensors"
    )
    keys = load_file(path)["keys"]
    half = load_classifier(edited(path, {"keys": keys.half()}))
    assert half.logits(embedding(unit(2, 4, DIM))).dtype == torch.float32
    keys[0, 0] = math.nan
    with pytest.raises(FileError, match="not finite in keys"):
        load_classifier(edited(path, {"keys": keys}))


# The draw.


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**20), st.integers(1, 3), st.permutations(range(4)))
def test_a_draw_does_not_depend_on_the_order_or_number_of_the_other_classes(seed, shots, order):
    labels = np.random.default_rng(seed).permutation(np.repeat(["a", "b", "c", "d"], [3, 5, 9, 4]))
    drawn = few_shot_draw(labels, shots, seed)
    assert drawn == sorted(set(drawn)) and [list(labels[drawn]).count(k) for k in "abcd"] == [shots] * 4
    assert set(few_shot_draw(labels, 1, seed)) <= set(drawn)  # nested
    renamed = {name: position for position, name in enumerate(np.array(list("abcd"))[list(order)])}
    numbers = torch.tensor([renamed[name] for name in labels])
    assert few_shot_draw(numbers, shots, seed) == few_shot_draw(numbers.tolist(), shots, seed)
    kept = np.flatnonzero(labels != "c")  # without a class, the others' draws stay
    assert [kept[i] for i in few_shot_draw(labels[kept], shots, seed)] == [i for i in drawn if labels[i] != "c"]


def test_draws_of_other_seeds_differ_and_classes_that_are_too_small_are_named():
    labels = [name for name in ("chair", "bed") for _ in range(50)]
    draws = {tuple(few_shot_draw(labels, 5, seed)) for seed in range(20)}
    assert len(draws) == 20
    counts = np.bincount([i for draw in draws for i in draw], minlength=100)  # every row has its chance
    assert counts.max() <= 8 and (counts > 0).sum() > 70
    with pytest.raises(InputError, match="too few rows for 4 shots a class: sofa 3, desk 1"):
        few_shot_draw(["sofa"] * 3 + ["bed"] * 4 + ["desk"], 4)
    for wrong in ((labels, 0), (labels, 1, -1), ([], 1)):
        with pytest.raises(InputError):
            few_shot_draw(*wrong)


# The cache.


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**20), st.integers(3, 12), st.integers(1, 5), st.integers(1, 9), st.integers(1, 4))
def test_the_cache_equals_its_formula(seed, shots, inputs, dim, views):
    keys, targets = unit(seed, shots, views, dim), np.random.default_rng(seed).permutation(np.arange(shots) % 3)
    text, f = unit(seed + 1, 3, dim), unit(seed + 2, inputs, views, dim)
    weights = Embedding(text, "toy", "text", LABELS)
    cache = CacheModel.fit(stacked(keys), targets.tolist(), weights, 100.0, views)
    keys, text, exact = (x.numpy().astype(float) for x in (keys, text, f))
    expected = np.zeros((inputs, 3))
    for i, x in enumerate(exact):
        for k in range(3):
            expected[i, k] = 100 * np.mean([x[v] @ text[k] for v in range(views)])
        for key, target in zip(keys, targets, strict=True):
            expected[i, target] += math.exp(-5.5 * (1 - np.mean([x[v] @ key[v] for v in range(views)])))
    np.testing.assert_allclose(cache.logits(stacked(f)), expected, atol=1e-4)


@settings(max_examples=15, deadline=None)
@given(st.permutations(range(18)))
def test_the_order_of_the_shots_does_not_matter(order):
    things = pooled(3)
    for fit in (
        lambda e, t: CacheModel.fit(e, t, TEXT, SCALE),
        lambda e, t: LinearProbe.fit(e, t, LABELS, c=1.0),
    ):
        straight, shuffled = fit(pooled(2), TARGETS), fit(pooled(2)[order], TARGETS[order])
        torch.testing.assert_close(shuffled.logits(things), straight.logits(things), atol=1e-4, rtol=0)


def test_the_cache_without_votes_is_the_text_alone():
    things = pooled(3)
    silent = CacheModel(pooled(2), TARGETS, TEXT, SCALE, alpha=0)
    torch.testing.assert_close(silent.logits(things).numpy(), np.float32(SCALE) * things.similarity(TEXT))
    row, cosines = silent.predict(things)[0], things.similarity(TEXT)[0]
    assert {p.label: p.cosine for p in row} == pytest.approx(dict(zip(LABELS, cosines.tolist(), strict=True)))
    assert CacheModel.fit(pooled(2), TARGETS, TEXT, SCALE, settings={"split": "train"}).settings == {
        "split": "train",
        "alpha": 1.0,
        "beta": 5.5,
        "samples": 18,
        "views": 1,
    }


# The probe.


@pytest.mark.parametrize("c", [0.01, 1.0, 100.0])
def test_the_probe_is_the_minimum(c):
    from scipy.optimize import minimize

    x, onehot = pooled(2).vectors.astype(float), np.eye(3)[TARGETS]

    def objective(flat):
        table = flat.reshape(3, DIM + 1)
        scores = x @ table[:, :DIM].T + table[:, DIM]
        shares = np.exp(scores - scores.max(1, keepdims=True))
        shares /= shares.sum(1, keepdims=True)
        value = -c * np.log((shares * onehot).sum(1)).sum() + (table[:, :DIM] ** 2).sum() / 2
        slope = c * (shares - onehot)
        return value, np.hstack([slope.T @ x + table[:, :DIM], slope.sum(0)[:, None]]).ravel()

    found = minimize(objective, np.zeros(3 * (DIM + 1)), jac=True, method="L-BFGS-B", options={"maxiter": 5000})
    table = found.x.reshape(3, DIM + 1)
    probe = LinearProbe.fit(pooled(2), TARGETS, LABELS, c=c)
    assert probe.settings == {"C": c, "max_iter": 1000, "converged": True, "samples": 18, "views": 1}
    ours = objective(np.hstack([probe.weight.numpy(), probe.bias.numpy()[:, None]]).ravel())[0]
    assert ours <= found.fun * (1 + 1e-6)
    np.testing.assert_allclose(probe.weight, table[:, :DIM], atol=2e-3 * max(1, np.abs(table).max()))
    row = probe.predict(pooled(3))[0][0]
    weight = probe.weight[LABELS.index(row.label)].numpy()
    assert row.cosine == pytest.approx(float(pooled(3).vectors[0] @ weight / np.linalg.norm(weight)), abs=1e-6)


def test_the_probe_says_on_which_split_it_chose_c():
    held = pooled(4)
    probe = LinearProbe.fit(
        pooled(2), TARGETS, LABELS, validation=(held, TARGETS), split="rows not drawn", settings={"shots": 6}
    )
    about = probe.settings
    assert about["validation"] == "rows not drawn" and about["validation_samples"] == 18 and about["shots"] == 6
    tried = {round(8 * math.log10(entry["C"]), 6): entry["acc1"] for entry in about["swept"]}
    assert set(range(-48, 49, 16)) <= set(tried) and len(tried) <= 15
    chosen = round(8 * math.log10(about["C"]), 6)
    assert tried[chosen] == max(tried.values()) and {chosen - 1, chosen + 1} & set(tried)
    assert torch.equal(LinearProbe.fit(pooled(2), TARGETS, LABELS, c=about["C"]).weight, probe.weight)
    assert (probe.logits(held).argmax(1) == TARGETS).float().mean() == pytest.approx(tried[chosen])


def test_the_sweep_finds_a_peak_at_a_resolution_of_eight_a_decade():
    from clipx.fewshot.probe import _sweep

    for peak in (-48, -31, 0, 5, 47, 48):
        best, tried = _sweep(lambda c, peak=peak: (-abs(8 * math.log10(c) - peak), 0.0))
        assert 8 * math.log10(best) == pytest.approx(peak) and len(tried) <= 15
    assert _sweep(lambda c: (1.0, -abs(math.log10(c) - 1.25)))[0] == pytest.approx(10**1.25)  # at a tie the lower loss
    assert _sweep(lambda c: (1.0, 1.0))[0] == pytest.approx(1e-6)  # the simplest


def test_a_probe_needs_one_way_to_c():
    held = (pooled(4), TARGETS)
    for options, message in [
        ({"c": 1.0, "validation": held, "split": "held"}, "either a C or a validation split"),
        ({"validation": held}, "needs a name"),
        ({"c": 0.0}, "C must be above 0"),
        ({"c": math.nan}, "C must be above 0"),
        ({"c": 1.0, "max_iter": 0}, "max_iter"),
        ({"validation": (pooled(4), TARGETS[1:]), "split": "held"}, "17 targets for 18 samples"),
    ]:
        with pytest.raises(InputError, match=message):
            LinearProbe.fit(pooled(2), TARGETS, LABELS, **options)
    with pytest.raises(SpaceMismatchError):
        LinearProbe.fit(
            pooled(2), TARGETS, LABELS, validation=(embedding(pooled(4).vectors, "other"), TARGETS), split="held"
        )
    for weight, bias in ((torch.zeros(2, 4), torch.zeros(3)), (torch.full((3, 4), math.nan), torch.zeros(3))):
        with pytest.raises(InputError):
            LinearProbe(LABELS, "toy", weight, bias)
    one = LinearProbe.fit(
        pooled(2), TARGETS, LABELS, validation=(pooled(4)[:1], [1]), split="one row"
    )  # a class may be absent there
    assert (
        one.settings["validation_samples"] == 1
        and not LinearProbe.fit(pooled(2), TARGETS, LABELS, c=1e6, max_iter=2).settings["converged"]
    )


def test_views_read_side_by_side_are_one_long_vector():
    long = (
        embedding(normalize(sample_views(2).flatten(1), dim=1)),
        embedding(normalize(sample_views(3).flatten(1), dim=1)),
    )
    by_view = fitted("linear_probe of views")[0].logits(stacked(sample_views(3)))
    torch.testing.assert_close(by_view, LinearProbe.fit(long[0], TARGETS, LABELS, c=1.0).logits(long[1]))


# The adapter.


def released(golden):
    return {key.removeprefix("adapter/"): value for key, value in golden.items() if key.startswith("adapter/")}


def test_the_adapter_equals_the_released_code(golden):
    network = AdapterNetwork(views=10, dim=16)
    network.load_state_dict(released(golden))
    network.eval()
    out = network(golden["adapter_in"].unflatten(0, (4, 10)))
    torch.testing.assert_close(out, golden["adapter_out_eval"], atol=1e-5, rtol=0)


def test_the_adapter_equals_a_literal_transcription(golden):
    w = {key: value.numpy().astype(float) for key, value in released(golden).items()}

    def norm(x, name):
        mean, var, gain, shift = (w[f"{name}.{part}"] for part in ("running_mean", "running_var", "weight", "bias"))
        return (x - mean) / np.sqrt(var + 1e-5) * gain + shift

    def linear(x, name):
        return w[f"{name}.weight"] @ x + w[f"{name}.bias"]

    expected = []
    for sample in golden["adapter_in"].numpy().astype(float).reshape(4, 10, 16):
        weighted = [view * factor for view, factor in zip(sample, w["fusion_ratio"], strict=True)]
        together = np.concatenate([norm(view, "global_f.0.bn") for view in weighted])
        together = np.maximum(norm(linear(together, "global_f.3"), "global_f.4"), 0)
        adapted = np.maximum(linear(np.maximum(linear(together, "view_f.0"), 0), "view_f.2"), 0)
        expected.append(0.6 * adapted + 0.4 * sample.ravel())
    np.testing.assert_allclose(expected, golden["adapter_out_eval"], atol=1e-5)


def test_the_adapter_s_logits_are_the_cosine_with_the_text_said_once_a_view(golden):
    network = AdapterNetwork(views=10, dim=16)
    network.load_state_dict(released(golden))
    text = Embedding(unit(5, 3, 16), "toy", "text", LABELS)
    things = unit(6, 40, 16)
    classifier = InterViewAdapter(network, text, SCALE)
    assert not classifier.network.training
    adapted = network(things.unflatten(0, (4, 10)))
    said = np.tile(text.vectors, (1, 10))
    expected = (adapted.numpy() / np.linalg.norm(adapted.numpy(), axis=1, keepdims=True)) @ (
        said / np.linalg.norm(said, axis=1, keepdims=True)
    ).T
    np.testing.assert_allclose(classifier.logits(embedding(things)), SCALE * expected, atol=1e-5)
    found = {p.label: p.cosine for p in classifier.predict(embedding(things))[0]}
    assert [found[label] for label in LABELS] == pytest.approx(expected[0].tolist(), abs=1e-6)


def test_the_loss_equals_the_released_code(golden):
    loss = smoothed_cross_entropy(golden["smooth_logits"], golden["smooth_targets"])
    torch.testing.assert_close(loss, golden["smooth_loss"], atol=1e-5, rtol=0)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**20), st.integers(2, 9), st.integers(1, 6), st.floats(0, 0.5))
def test_the_loss_is_eps_over_the_wrong_classes(seed, classes, rows, eps):
    rng = np.random.default_rng(seed)
    logits, targets = rng.normal(size=(rows, classes)) * 3, rng.integers(0, classes, rows)
    wanted = np.full((rows, classes), eps / (classes - 1))
    wanted[np.arange(rows), targets] = 1 - eps
    expected = -(wanted * (logits - np.log(np.exp(logits).sum(1, keepdims=True)))).sum(1).mean()
    found = smoothed_cross_entropy(torch.from_numpy(logits), torch.from_numpy(targets), eps)
    assert float(found) == pytest.approx(expected)


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 5), st.integers(1, 7), st.integers(2, 6))
def test_every_parameter_of_the_adapter_learns(views, dim, samples):
    network = AdapterNetwork(views, dim).train()
    out = network(unit(views, samples, views, dim))
    assert out.shape == (samples, views * dim)
    (out * unit(dim, *out.shape)).sum().backward()
    assert all(p.grad is not None and p.grad.shape == p.shape for p in network.parameters())


def test_gradients_reach_the_first_layers():
    network = AdapterNetwork(VIEWS, DIM).train()
    views = sample_views(2).requires_grad_()
    (network(views) * unit(7, 18, VIEWS * DIM)).sum().backward()
    assert all(bool(p.grad.abs().sum() > 0) for n, p in network.named_parameters() if n != "global_f.3.bias")
    assert (views.grad.abs().sum(-1) > 0).all()


def test_the_learning_rate_is_the_published_one():
    from clipx.fewshot.schedule import rate_of

    rates = [rate_of(epoch, AdapterConfig()) for epoch in range(250)]
    assert rates[:2] == [1e-5, 0.01] and rates[126] == pytest.approx(0.005)
    assert rates[249] == pytest.approx(0.01 * (1 + math.cos(math.pi * 248 / 250)) / 2)


def test_training_takes_fresh_views_every_epoch():
    seen = []

    def fresh(epoch):
        seen.append(epoch)
        torch.manual_seed(0)  # must not make the adapter's own draws repeat
        return stacked(sample_views(10 + epoch))

    losses = []
    config = dataclasses.replace(QUICK, epochs=4)
    made = InterViewAdapter.fit(fresh, TARGETS, TEXT, SCALE, VIEWS, config, on_epoch=lambda *told: losses.append(told))
    assert seen == [0, 1, 2, 3] == [epoch for epoch, _ in losses]
    assert made.settings["augmented"] and made.settings["loss"] == losses[-1][1]
    assert made.settings["samples"] == 18 and made.settings["epochs"] == 4
    plain = InterViewAdapter.fit(stacked(sample_views(10)), TARGETS, TEXT, SCALE, VIEWS, config)
    same = InterViewAdapter.fit(lambda epoch: stacked(sample_views(10)), TARGETS, TEXT, SCALE, VIEWS, config)
    things = stacked(sample_views(3))
    assert torch.equal(same.logits(things), plain.logits(things)) and not plain.settings["augmented"]
    other = InterViewAdapter.fit(
        stacked(sample_views(10)), TARGETS, TEXT, SCALE, VIEWS, dataclasses.replace(config, seed=1)
    )
    assert not torch.equal(other.logits(things), plain.logits(things))
    with pytest.raises(InputError, match="18 targets for 17 samples"):
        InterViewAdapter.fit(lambda e: stacked(sample_views(10)[e:]), TARGETS, TEXT, SCALE, VIEWS, config)


def test_what_is_left_over_is_skipped_but_a_small_set_is_one_batch():
    few = stacked(sample_views(2)[:7])
    made = InterViewAdapter.fit(few, TARGETS[:7], TEXT, SCALE, VIEWS, AdapterConfig(epochs=1, batch_size=3))
    assert int(made.network.global_f[4].num_batches_tracked) == 2
    made = InterViewAdapter.fit(few, TARGETS[:7], TEXT, SCALE, VIEWS, AdapterConfig(epochs=1))
    assert int(made.network.global_f[4].num_batches_tracked) == 1


@pytest.mark.parametrize(
    "wrong",
    [
        *({"epochs": 0}, {"batch_size": 1}, {"warmup_epochs": -1}, {"seed": -1}, {"lr": math.nan}, {"momentum": -0.1}),
        *({"ratio": 1.1}, {"dropout": 1.0}, {"smoothing": 0.6}),
    ],
)
def test_unusable_settings_of_the_adapter_are_refused(wrong):
    with pytest.raises(InputError, match="an adapter"):
        AdapterConfig(**wrong)


def test_views_that_do_not_fit_are_refused():
    with pytest.raises(InputError, match="71 rows are no multiple of 4 views"):
        InterViewAdapter.fit(stacked(sample_views(2))[:71], TARGETS, TEXT, SCALE, VIEWS, QUICK)
    with pytest.raises(InputError, match="18 targets for 1 samples"):
        InterViewAdapter.fit(stacked(sample_views(2))[:4], TARGETS, TEXT, SCALE, VIEWS, QUICK)
    for kind in ("cache of views", "linear_probe of views", "inter_view_adapter"):
        classifier, things = fitted(kind)
        with pytest.raises(InputError, match="5 rows are no multiple of 4 views"):
            classifier.logits(things[:5])
    for views in (0, -4):
        with pytest.raises(InputError, match="no multiple of"):
            CacheModel.fit(things, TARGETS, TEXT, SCALE, views)
    with pytest.raises(InputError, match="dimension 9"):
        InterViewAdapter(AdapterNetwork(VIEWS, 9), TEXT, SCALE)
    with pytest.raises(InputError, match="loss is"):
        InterViewAdapter.fit(things, TARGETS, TEXT, SCALE, VIEWS, AdapterConfig(epochs=9, lr=1e30))


# The search for view weights.


def test_view_weights_are_the_best_of_all_combinations():
    views, truth = sample_views(5), TARGETS.numpy()
    found = ViewSearch.fit(stacked(views), TARGETS, TEXT, SCALE, VIEWS)
    each_view = SCALE * np.einsum("nvd,kd->nvk", views.double().numpy(), TEXT.vectors.astype(float))

    def right(weights):  # (the weighted sum of the views' logits, written out)
        total = sum(w * each_view[:, v] for v, w in enumerate(weights))
        return (total.argmax(1) == truth).mean()

    scores = {weights: right(weights) for weights in itertools.product((0.25, 0.5, 0.75, 1.0), repeat=VIEWS)}
    assert right(found.view_weights) == max(scores.values()) > right((1.0,) * VIEWS)
    assert found.settings["fitted_acc1"] == pytest.approx(max(scores.values()))
    assert (found.logits(stacked(views)).argmax(1) == TARGETS).float().mean() == pytest.approx(max(scores.values()))


def test_many_views_are_searched_one_after_the_other(monkeypatch):
    whole = ViewSearch.fit(stacked(sample_views(5)), TARGETS, TEXT, SCALE, VIEWS)
    monkeypatch.setattr("clipx.fewshot.view_search.MOST_WORK", 0)
    found = ViewSearch.fit(stacked(sample_views(5)), TARGETS, TEXT, SCALE, VIEWS)
    equal = ViewSearch((1.0,) * VIEWS, TEXT, SCALE).logits(stacked(sample_views(5)))
    assert whole.settings["fitted_acc1"] >= found.settings["fitted_acc1"]
    assert found.settings["fitted_acc1"] > (equal.argmax(1) == TARGETS).float().mean()


def test_equal_view_weights_are_the_mean_of_the_views():
    things = stacked(sample_views(3))
    logits = ViewSearch((0.5,) * VIEWS, TEXT, SCALE).logits(things)
    mean = sample_views(3).mean(1) @ TEXT.vectors.T
    assert torch.allclose(logits, SCALE * mean, atol=1e-5)


@pytest.mark.parametrize("weights", [(), (0.0, 0.0), (1.0, -1.0), (1.0, math.nan), (1.0, math.inf)])
def test_unusable_view_weights_are_refused(weights):
    with pytest.raises(InputError, match="view weights must be"):
        ViewSearch(weights, TEXT, SCALE)


# The protocol.


class Words:
    labels, weights, logit_scale = LABELS, TEXT, SCALE


@pytest.mark.parametrize("method", ["cache", "probe", "adapter", "view_weights", "gda", "prototype"])
def test_shots_are_drawn_by_the_seed_and_the_split_is_remembered(method, monkeypatch):
    monkeypatch.setattr("clipx.fewshot.AdapterConfig", functools.partial(AdapterConfig, epochs=2, batch_size=4))
    things = stacked(sample_views(2))
    first, same, other = (
        fit_shots(method, things, TARGETS.tolist(), Words, 2, s, VIEWS, "train half") for s in (0, 0, 1)
    )
    assert torch.equal(first.logits(things), same.logits(things))
    assert not torch.equal(first.logits(things), other.logits(things)) or method == "view_weights"
    kept = first.settings
    assert (kept["split"], kept["shots"], kept["draw_seed"], kept["samples"]) == ("train half", 2, 0, 6)
    if method == "probe":
        assert kept["selection"] == "cross-validation on the shots" and kept["folds"] == 2


def test_an_unknown_method_and_too_few_rows_are_refused():
    with pytest.raises(InputError, match=r"one of .*cache, ape, gda, probe, .*adapter, view_weights"):
        fit_shots("magic", stacked(sample_views(2)), TARGETS.tolist(), Words, 2, 0, VIEWS)
    with pytest.raises(InputError, match="too few rows for 8 shots"):
        fit_shots("probe", stacked(sample_views(2)), TARGETS.tolist(), Words, 8, 0, VIEWS)
    every = fit_shots("probe", stacked(sample_views(2)), TARGETS.tolist(), Words, 8, 0, VIEWS, short=True)
    assert every.settings["samples"] == 18
