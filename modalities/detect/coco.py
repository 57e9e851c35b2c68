"""Detections as COCO JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from clipx.modalities.detect.boxes import Detections


def coco_json(found: Sequence[tuple[str, Detections]], settings: Mapping[str, Any]) -> str:
    """The detections of photos with the same labels as one COCO object: images, categories, annotations with scores.

    A box is [left, top, width, height] in pixels; ids count from 1.

    Args:
        found: (name of the photo, its detections).
        settings: kept under ``info``.
    """
    labels = found[0][1].labels if found else ()
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for number, (name, one) in enumerate(found, 1):
        images.append({"id": number, "file_name": name, "height": one.size[0], "width": one.size[1]})
        for box, label, score in zip(one.boxes.tolist(), one.label_index.tolist(), one.scores.tolist(), strict=True):
            annotations.append(annotation(len(annotations) + 1, number, label + 1, box, score))
            if one.presence is not None:
                annotations[-1]["presence"] = round(float(one.presence[label]), 3)
    categories = [{"id": k, "name": label} for k, label in enumerate(labels, 1)]
    info = {"description": "clipx detect", "settings": dict(settings)}
    record = {"info": info, "images": images, "categories": categories, "annotations": annotations}
    return json.dumps(record, indent=1, ensure_ascii=False) + "\n"


def annotation(number: int, image: int, category: int, box: Sequence[float], score: float) -> dict[str, Any]:
    """A box, left, top, right, bottom in pixels, as COCO has it: left, top, width, height."""
    left, top, right, bottom = box
    sides = [round(v, 3) for v in (left, top, right - left, bottom - top)]
    found = {"id": number, "image_id": image, "category_id": category, "bbox": sides}
    return found | {"area": round(sides[2] * sides[3], 3), "iscrowd": 0, "score": round(score, 6)}
