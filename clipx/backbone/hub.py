"""Fetching pretrained weights: the hub, its cache, and one line that says why it did not work."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from clipx.errors import ClipxError, MissingDependencyError, SpaceError, first_line

WEIGHT_FILES = ("open_clip_model.safetensors", "open_clip_pytorch_model.bin")
HUB_EXTRA = "pip install 'clipx-modalities[hub]'"
WAYS_OUT = "without the hub, take the embedded space lite or a local folder or weights file"


def fetch_tag(tag: Mapping[str, Any], what: str) -> Path:
    """The weights file of a pretrained tag of open_clip, from the hub or from where the tag says."""
    from open_clip.pretrained import download_pretrained

    repository, _, file = tag.get("hf_hub", "").rpartition("/")
    if repository:
        return fetch(repository, [file] if file else WEIGHT_FILES)
    with fetching(what):
        return Path(download_pretrained(tag))


def fetch(repository: str, files: Sequence[str]) -> Path:
    """The first of the files that the hub has, or its cache; the cache is not asked whether it is fresh."""
    from huggingface_hub import hf_hub_download, try_to_load_from_cache
    from huggingface_hub.utils import EntryNotFoundError, LocalEntryNotFoundError

    with fetching(repository):
        for file in files:
            cached = try_to_load_from_cache(repository, file)
            if isinstance(cached, str):
                return Path(cached)
        if not reachable():
            raise unreachable(repository)
        for file in files:
            try:
                return Path(hf_hub_download(repository, file))
            except LocalEntryNotFoundError:
                raise
            except EntryNotFoundError:
                continue
    raise SpaceError(f"{repository} has none of {', '.join(files)}", remedy="name a model made for open_clip")


def reachable() -> bool:
    """Whether the hub answers one quick request; its own client retries for most of a minute before it gives up."""
    from huggingface_hub import constants
    from huggingface_hub.utils import get_session

    try:
        get_session().head(constants.ENDPOINT, timeout=5)
    except Exception:
        return False
    return True


@contextmanager
def fetching(what: str) -> Iterator[None]:
    """Turn whatever goes wrong while fetching into one line that says offline, absent or not installed."""
    try:
        yield
    except ClipxError:
        raise
    except ImportError as error:
        raise MissingDependencyError(f"{what} needs a package: {first_line(error)}", remedy=HUB_EXTRA) from error
    except Exception as error:
        chain, link = [type(error).__name__], error.__cause__ or error.__context__
        while link is not None:
            chain.append(type(link).__name__)
            link = link.__cause__ or link.__context__
        if {"RepositoryNotFoundError", "RemoteEntryNotFoundError", "GatedRepoError"} & set(chain):
            raise SpaceError(f"the hub has no {what}, or asks for a login", remedy="check the name") from error
        if not reachable():
            raise unreachable(what) from error
        raise SpaceError(f"cannot fetch {what}: {first_line(error)}", remedy=WAYS_OUT) from error


def unreachable(what: str) -> SpaceError:
    """The error where the hub cannot be reached."""
    return SpaceError(f"cannot fetch {what}: this machine is offline, or the hub cannot be reached", remedy=WAYS_OUT)
