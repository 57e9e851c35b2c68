"""The embedded spaces: folders that come with clipx, and how they are written and read."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clipx.backbone.config import CONFIG, has_lexicon
from clipx.backends.manifest import MANIFEST, WORDS, exported_architecture, is_exported, settings_sha256
from clipx.errors import InputError, SpaceError, well_formed
from clipx.files import write_whole
from clipx.lexicon import Lexicon
from clipx.space import JointSpace
from clipx.vocabulary import Vocabulary

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from clipx.backbone import Backbone
    from clipx.backends import Backend

SPACES = Path(__file__).parent
WEIGHTS, ABOUT, CARD = "weights.safetensors", "space.json", "README.md"
_TOKENS = "token_embedding.weight"


@dataclass(frozen=True)
class SpaceInfo:
    """One line of ``clipx spaces``: what ``load_space`` takes, and of embedded spaces what is known without loading."""

    name: str
    kind: str  # "embedded" or "pretrained"
    version: str = ""
    licence: str = ""
    weights_bytes: int | None = None
    weights_sha256: str | None = None


def list_spaces(pretrained: bool = True) -> list[SpaceInfo]:
    """Embedded spaces, then (unless ``pretrained`` is False, which spares importing open_clip) every known tag."""
    found = []
    for name in embedded_names():
        about = _about(SPACES / name)
        size, sha256 = about["weights_bytes"], about["weights_sha256"]
        found.append(SpaceInfo(name, "embedded", about["version"], about.get("licence", ""), size, sha256))
    if pretrained:
        from clipx.backbone.config import pretrained_tags

        found += [SpaceInfo(f"{architecture}/{tag}", "pretrained") for architecture, tag in pretrained_tags()]
    return found


def embedded_names() -> list[str]:
    """Names of the spaces that come with clipx."""
    return sorted(p.parent.name for p in SPACES.glob("*/space.json"))


def embedded_folder(name: str) -> Path | None:
    """The folder of the embedded space of that name, if there is one."""
    return SPACES / name if name in embedded_names() else None


def embedded_for(use: str) -> list[str]:
    """Names of the embedded spaces whose recipe lists ``use`` under ``provides``.

    Args:
        use: ``"class_attention"``: the attention of its class token shows what it looks at. ``"drawings"``: trained on
            drawings by hand, and judges drawings. ``"drawings_of_photos"``: trained also on line drawings made from
            photos, which it judges best. ``"looks"``: knows words of light and colour, such as warm and faded.
    """
    return [name for name in embedded_names() if use in provided(_about(SPACES / name))]


def provided(about: Mapping[str, Any]) -> tuple[str, ...]:
    """The uses that the recipe of a space lists, by its space.json."""
    return tuple(about.get("recipe", {}).get("provides", ()))


@dataclass(frozen=True)
class EmbeddedFiles:
    """What a folder says of its space, all but the weights.

    Args:
        folder: the folder.
        about: its space.json.
        model_cfg, preprocess_cfg: open_clip's, of its architecture.
        words: what its vocabulary.json holds.
    """

    folder: Path
    about: Mapping[str, Any]
    model_cfg: Mapping[str, Any]
    preprocess_cfg: Mapping[str, Any]
    words: Mapping[str, Any]

    @classmethod
    def read(cls, folder: str | PathLike) -> EmbeddedFiles:
        """Raises SpaceError where a file is missing or malformed."""
        folder = Path(folder)
        about, config, words = _about(folder), _read_json(folder / CONFIG), _read_json(folder / WORDS)
        with well_formed(folder, "reinstall clipx", "malformed space"):
            return cls(folder, about, config["model_cfg"], config["preprocess_cfg"], words)

    @cached_property
    def lexicon(self) -> Lexicon | None:
        """The tokenizer of a space that takes every word; None where its words are those of ``vocabulary``."""
        if not has_lexicon(self.model_cfg):
            return None
        with well_formed(self.folder, "reinstall clipx", "malformed space"):
            lexicon = Lexicon(**self.words)
            lexicon.check(self.model_cfg["text_cfg"])
            return lexicon

    @cached_property
    def vocabulary(self) -> Vocabulary | None:
        """The words that training saw, where no others are taken."""
        if has_lexicon(self.model_cfg):
            return None
        with well_formed(self.folder, "reinstall clipx", "malformed space"):
            return Vocabulary(self.words["words"])

    def space(self, backend: Backend | Backbone) -> JointSpace:
        """The space as a backend serves it."""
        sha256 = self.about["weights_sha256"]
        if has_lexicon(self.model_cfg):  # other files decide what its weights mean: numbers of phrases, domains' towers
            sha256 = settings_sha256(self.folder, sha256)
        return JointSpace(
            self.about["name"],
            backend,
            version=self.about["version"],
            weights_sha256=sha256,
            vocabulary=self.vocabulary,
            lexicon=self.lexicon,
            folder=self.folder,
        )


def load_embedded(folder: str | PathLike) -> JointSpace:
    """Load the folder of an embedded space, as ``save_embedded`` writes it, by torch.

    Raises:
        SpaceError: a file is missing or malformed, or the weights are not those that space.json names.
    """
    from safetensors.torch import load as load_bytes

    from clipx.backbone import build_backbone

    files = EmbeddedFiles.read(folder)
    if not (files.folder / WEIGHTS).exists():
        exported_architecture(files.folder)  # an int8 one has none: it says so
    try:
        blob = (files.folder / WEIGHTS).read_bytes()
    except OSError as error:
        raise SpaceError("weights are missing", where=files.folder / WEIGHTS, remedy="reinstall clipx") from error
    if hashlib.sha256(blob).hexdigest() != files.about["weights_sha256"]:
        what = "weights are corrupt: their SHA-256 is not the one in space.json"
        raise SpaceError(what, where=files.folder / WEIGHTS, remedy="reinstall clipx")
    with well_formed(files.folder, "reinstall clipx", "malformed space"):
        state = _unpack(load_bytes(blob), files.model_cfg)
        backbone = build_backbone(
            files.model_cfg,
            files.preprocess_cfg,
            architecture=files.about["name"],
            weights=state,
            tokenizer=files.lexicon,
        )
    return files.space(backbone)


def save_embedded(
    model: torch.nn.Module,
    folder: str | PathLike,
    *,
    name: str,
    version: str,
    model_cfg: Mapping[str, Any],
    preprocess_cfg: Mapping[str, Any],
    vocabulary: Mapping[str, Any],
    token_index: Iterable[int] = (),
    licence: str = "Apache-2.0",
    card: str | None = None,
    about: Mapping[str, Any] | None = None,
) -> Path:
    """Write an open_clip model as an embedded space; existing files are replaced one by one, space.json last.

    Weights are stored in float16 (the logit scale and other scalars as they are). Of the token table only the rows that
    training touched are kept; the rest load as zeros.

    Args:
        model: an open_clip ``CLIP`` or ``CustomTextCLIP``, or a ``DomainCLIP``, on any device.
        folder: where to; made if missing.
        name, version: identity, such as ``"lite"`` and ``"1"``.
        model_cfg: the architecture, as open_clip's ``model_cfg``.
        preprocess_cfg: size, mean, std, interpolation and resize_mode that training used.
        vocabulary: ``{"words": ...}``, the argument of ``Vocabulary``, or those of ``Lexicon``.
        token_index: ids of the token rows that training touched; a lexicon's are all kept.
        licence: SPDX identifier of the weights.
        card: the model card in Markdown, written as README.md; an existing one stays when None.
        about: more entries for space.json (recipe, data hashes, figures).

    Returns:
        The folder.

    Raises:
        InputError: a weight overflows float16, or a token id is out of range.
    """
    import torch
    from safetensors.torch import save as save_bytes

    index = torch.tensor(sorted(set(token_index)), dtype=torch.int32)
    blob = save_bytes(_pack(model.state_dict(), index, model_cfg))
    entry = {
        **(about or {}),
        "name": name,
        "version": version,
        "licence": licence,
        "weights_sha256": hashlib.sha256(blob).hexdigest(),
        "weights_bytes": len(blob),
    }
    files = {
        WEIGHTS: blob,
        CONFIG: _json({"model_cfg": dict(model_cfg), "preprocess_cfg": dict(preprocess_cfg)}),
        WORDS: _json(vocabulary),
        **({CARD: card.encode()} if card is not None else {}),
        ABOUT: _json(entry),
    }
    folder = Path(folder)
    if is_exported(folder):  # graphs of other weights
        (folder / MANIFEST).unlink()
    for file, content in files.items():
        write_whole(folder / file, content, parents=True)
    return folder


def _pack(state: Mapping[str, Tensor], index: Tensor, model_cfg: Mapping[str, Any]) -> dict[str, Tensor]:
    if has_lexicon(model_cfg):
        return {k: _half(k, v) for k, v in state.items()}
    key = next(k for k in state if k.endswith(_TOKENS))
    if len(index) and not 0 <= int(index[0]) <= int(index[-1]) < len(state[key]):
        raise InputError(f"token ids must be in 0..{len(state[key]) - 1}, got {int(index[0])}..{int(index[-1])}")
    packed = {k: _half(k, v) for k, v in state.items() if k != key}
    return {**packed, "token_rows": _half(key, state[key].cpu()[index.long()]), "token_index": index}


def _half(name: str, value: Tensor) -> Tensor:
    import torch

    value = value.detach().cpu().contiguous()
    if not value.is_floating_point() or value.ndim == 0:
        return value
    half = value.half()
    if not bool(torch.isfinite(half).all()):
        raise InputError("a weight does not fit float16", where=name, remedy="train with weight decay or rescale")
    return half


def _unpack(packed: dict[str, Tensor], model_cfg: Mapping[str, Any]) -> dict[str, Tensor]:
    if has_lexicon(model_cfg):
        return {k: v.float() if v.is_floating_point() else v for k, v in packed.items()}
    import torch

    text = model_cfg["text_cfg"]
    rows, index = packed.pop("token_rows"), packed.pop("token_index")
    table = torch.zeros(text.get("vocab_size", 49408), rows.shape[1])
    if index.shape != rows.shape[:1] or index.is_floating_point() or (index < 0).any():  # torch would wrap or broadcast
        raise ValueError(f"token_index must name a row for each of {len(rows)} token_rows")
    table[index.long()] = rows.float()
    prefix = "text." if any(k.startswith("text.") for k in packed) else ""
    return {prefix + _TOKENS: table, **{k: v.float() if v.is_floating_point() else v for k, v in packed.items()}}


def _about(folder: Path) -> dict[str, Any]:
    about = _read_json(folder / ABOUT)
    kinds = {"name": str, "version": str, "weights_bytes": int, "weights_sha256": str}
    missing = [key for key, kind in kinds.items() if not isinstance(about.get(key), kind)]
    if missing:
        raise SpaceError(f"missing keys: {', '.join(missing)}", where=folder / ABOUT, remedy="reinstall clipx")
    return about


def _read_json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise SpaceError(f"cannot be read ({type(error).__name__})", where=path, remedy="reinstall clipx") from error
    if not isinstance(value, dict):
        raise SpaceError("is not a JSON object", where=path, remedy="reinstall clipx")
    return value


def _json(value: Mapping[str, Any]) -> bytes:
    return (json.dumps(value, indent=1, ensure_ascii=False) + "\n").encode()
