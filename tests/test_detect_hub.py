"""Detectors of the transformers library, random and tiny, behind the results of this package."""

import sys

import numpy as np
import pytest
import torch

from clipx.errors import FileError, InputError, MissingDependencyError, SpaceError
from clipx.modalities.detect.boxes import area, iou
from clipx.modalities.detect.hub import HubDetector

TEXT = "a red cup on a table"
WORDS = ["a", "red", "cup", "on", "table", "the", "cat", "dog", ".", ",", "?"]
SPECIAL = {
    "[PAD]": 0,
    "[UNK]": 100,
    "[CLS]": 101,
    "[SEP]": 102,
    ".": 1012,
    "?": 1029,
}  # where BERT has them


def wordpieces():
    """A vocabulary of 1030 pieces in which BERT's special ones have BERT's places."""
    pieces = {place: piece for piece, place in SPECIAL.items()}
    rest = iter([word for word in WORDS if word not in SPECIAL] + [f"[unused{i}]" for i in range(1030)])
    return {pieces[i] if i in pieces else next(rest): i for i in range(1030)}


def save_grounding_dino(folder):
    from transformers import (
        BertTokenizer,
        GroundingDinoConfig,
        GroundingDinoForObjectDetection,
        GroundingDinoImageProcessor,
        GroundingDinoProcessor,
    )

    backbone = {"model_type": "swin", "embed_dim": 8, "depths": [1, 1, 1, 1], "num_heads": [1, 1, 2, 2]}
    backbone |= {"image_size": 32, "patch_size": 4, "window_size": 2, "out_indices": [2, 3, 4]}
    text = {"model_type": "bert", "vocab_size": 1030, "hidden_size": 16, "num_hidden_layers": 1}
    text |= {"num_attention_heads": 2, "intermediate_size": 16, "max_position_embeddings": 64}
    config = GroundingDinoConfig(
        backbone_config=backbone,
        text_config=text,
        num_queries=12,
        d_model=32,
        encoder_layers=1,
        decoder_layers=2,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        encoder_ffn_dim=16,
        decoder_ffn_dim=16,
        max_text_len=40,
    )
    size = {"shortest_edge": 48, "longest_edge": 96}
    processor = GroundingDinoProcessor(GroundingDinoImageProcessor(size=size), BertTokenizer(vocab=wordpieces()))
    save(GroundingDinoForObjectDetection(config), processor, folder)


def save_owlv2(folder):
    from transformers import CLIPTokenizer, Owlv2Config, Owlv2ForObjectDetection, Owlv2ImageProcessor, Owlv2Processor

    letters = list("abcdefghijklmnopqrstuvwxyz,.?0123456789")
    pieces = [*letters, *(letter + "</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
    places = {piece: i for i, piece in enumerate(pieces)}
    text = {"vocab_size": len(pieces), "hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1}
    text |= {"num_attention_heads": 2, "max_position_embeddings": 16, "bos_token_id": places["<|startoftext|>"]}
    text |= {"eos_token_id": places["<|endoftext|>"], "pad_token_id": 0}
    vision = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    vision |= {"image_size": 32, "patch_size": 8}
    config = Owlv2Config(text_config=text, vision_config=vision, projection_dim=16)
    tokenizer = CLIPTokenizer(vocab=places, merges=[], model_max_length=16, pad_token="<|endoftext|>")
    processor = Owlv2Processor(Owlv2ImageProcessor(size={"height": 32, "width": 32}), tokenizer)
    save(Owlv2ForObjectDetection(config), processor, folder)


def save(model, processor, folder):
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.3)
    model.save_pretrained(folder)
    processor.save_pretrained(folder)


MAKERS = {"grounding-dino": save_grounding_dino, "owlv2": save_owlv2}


@pytest.fixture(scope="module", params=MAKERS)
def folder(request, tmp_path_factory):
    pytest.importorskip("transformers")
    made = tmp_path_factory.mktemp(request.param)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        MAKERS[request.param](made)
    return made


@pytest.fixture(scope="module")
def detector(folder):
    return HubDetector(folder)


@pytest.fixture(scope="module")
def photo():
    return torch.rand(3, 40, 60, generator=torch.Generator().manual_seed(1))


def theirs(detector, photo, phrases, threshold):
    """What the processor of the model makes of its output."""
    from PIL import Image

    picture = Image.fromarray((photo * 255).round().byte().permute(1, 2, 0).numpy())
    dino = detector.kind == "grounding-dino"
    text = " ".join(f"{p}." for p in phrases) if dino else [phrases]
    inputs = detector.processor(images=picture, text=text, return_tensors="pt")
    with torch.no_grad():
        found = detector.model(**inputs)
    more = {"input_ids": inputs["input_ids"]} if dino else {}
    post = detector.processor.post_process_grounded_object_detection
    return inputs, found, post(found, threshold=threshold, target_sizes=[tuple(photo.shape[1:])], **more)[0]


def test_boxes_are_those_of_the_models_own_processor(detector, photo):
    boxes, scores = detector.scored(photo, ["a red cup", "a table"])
    _, _, own = theirs(detector, photo, ["a red cup", "a table"], threshold=-1.0)
    assert len(boxes) == len(scores) > 3
    expected = own["boxes"].numpy().clip(0, [60, 40, 60, 40])
    np.testing.assert_allclose(boxes, expected, atol=1e-3)
    assert boxes.dtype == scores.dtype == np.float32


@pytest.mark.parametrize("folder", ["owlv2"], indirect=True)
def test_scores_of_queries_are_those_of_the_models_own_processor(detector, photo):
    _, scores = detector.scored(photo, ["a red cup", "a table"])
    _, _, own = theirs(detector, photo, ["a red cup", "a table"], threshold=-1.0)
    np.testing.assert_allclose(scores.max(1), own["scores"].numpy(), atol=1e-6)
    np.testing.assert_array_equal(scores.argmax(1), own["labels"].numpy())


@pytest.mark.parametrize("folder", ["grounding-dino"], indirect=True)
def test_a_phrase_scores_as_the_best_of_its_tokens(detector, photo):
    _, scores = detector.scored(photo, ["A red cup.", "a table"])
    inputs, found, _ = theirs(detector, photo, ["a red cup", "a table"], threshold=-1.0)
    tokens = detector.processor.tokenizer.convert_ids_to_tokens(inputs["input_ids"][0].tolist())
    assert tokens == ["[CLS]", "a", "red", "cup", ".", "a", "table", ".", "[SEP]"]
    chances = found.logits[0].sigmoid()
    np.testing.assert_allclose(scores[:, 0], chances[:, 1:4].amax(1).numpy(), atol=1e-6)
    np.testing.assert_allclose(scores[:, 1], chances[:, 5:7].amax(1).numpy(), atol=1e-6)


def test_grounding_has_the_best_boxes_of_each_phrase(detector, photo):
    found = detector.ground(photo, TEXT, top=2)
    boxes, scores = detector.scored(photo, ["a red cup", "a table"])
    assert [phrase.text for phrase in found.phrases] == ["a red cup", "a table"]
    assert found.size == (40, 60) and found.sentence == TEXT
    assert list(found.scores) == sorted(found.scores, reverse=True)
    for k in range(2):
        mine = np.flatnonzero(found.phrase_index == k)
        best = int(np.where(area(boxes) > 0, scores[:, k], -1).argmax())
        assert 1 <= len(mine) <= 2 and found.scores[mine[0]] == scores[best, k]
        np.testing.assert_array_equal(found.boxes[mine[0]], boxes[best])
        assert iou(found.boxes[mine[:1]], found.boxes[mine[1:]]).max(initial=0) <= 0.5


def test_detections_stand_above_the_threshold_and_do_not_overlap(detector, photo):
    _, scores = detector.scored(photo, ["cup", "table"])
    middle = float(np.median(scores.max(1)))
    found = detector.detect(photo, ["cup", "table"], threshold=middle, overlap=0.3)
    everything = detector.detect(photo, ["cup", "table"], threshold=0.0, overlap=1.0)
    assert 0 < len(found) < len(everything)
    assert (found.scores >= middle).all() and list(found.scores) == sorted(found.scores, reverse=True)
    assert found.labels == ("cup", "table") and found.label_index.dtype == np.int64
    again = detector.detect(photo, ["cup", "table"], threshold=middle, overlap=0.3)
    np.testing.assert_array_equal(found.boxes, again.boxes)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda d, p: d.ground(p, "it is"), "no noun"),
        (lambda d, p: d.ground(p, TEXT, top=0), "top must be"),
        (lambda d, p: d.ground(p, "cup " * 60), "reads"),
        (lambda d, p: d.detect(p, []), "at least one"),
        (lambda d, p: d.detect(p, ["cup", "Cup "]), "twice"),
        (lambda d, p: d.detect(p, ["cup", " . "]), "no word"),
        (lambda d, p: d.detect(p, ["cup"], threshold=2), "threshold"),
        (lambda d, p: d.detect(p[:1], ["cup"]), "shape"),
        (lambda d, p: d.detect(p * 255, ["cup"]), "pixels must be in"),
        (lambda d, p: d.detect(p * float("nan"), ["cup"]), "pixels must be in"),
    ],
)
def test_bad_input_is_one_line(detector, photo, call, message):
    with pytest.raises(InputError, match=message) as caught:
        call(detector, photo)
    assert "\n" not in str(caught.value)


def test_a_folder_is_read_without_the_network(folder, photo, monkeypatch, capfd):
    import socket

    def refuse(*args, **options):
        raise AssertionError("a folder asked the network")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)
    assert len(HubDetector(str(folder)).ground(photo, "cup")) == 1
    assert capfd.readouterr().err == ""  # no progress bar


def test_what_is_no_detector_is_one_line(tmp_path):
    pytest.importorskip("transformers")
    with pytest.raises(FileError, match="no such folder"):
        HubDetector(tmp_path / "none")
    with pytest.raises(SpaceError, match="is no detector"):
        HubDetector(tmp_path)
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(SpaceError, match="'bert', no zero-shot detector") as caught:
        HubDetector(tmp_path)
    assert "\n" not in str(caught.value)


def test_pickled_weights_are_not_read(folder, tmp_path):
    from shutil import copytree

    model = copytree(folder, tmp_path / "pickled")
    torch.save({}, model / "pytorch_model.bin")
    (model / "model.safetensors").unlink()
    with pytest.raises(SpaceError, match="is no detector"):
        HubDetector(model)


def test_without_transformers_the_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(MissingDependencyError, match=r"clipx-modalities\[hub\]"):
        HubDetector(tmp_path)


@pytest.mark.parametrize("folder", ["owlv2"], indirect=True)
def test_the_command_takes_a_model(run_json, here, folder):
    record = run_json(f"ground photo.png --model {folder} --top 2 -o found.png", TEXT)
    (result,) = record["results"]
    assert [one["name"] for one in result["categories"]] == ["a red cup", "a table"]
    assert record["model"] == str(folder) and (here / "found.png").exists()
    assert all(0 <= one["score"] <= 1 for one in result["annotations"])
