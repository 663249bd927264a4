"""The source of weights and their identity, resolved without reading a tensor."""

import os
import re
import socket
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from urllib.parse import urlsplit

from radapt.backbones import packages
from radapt.backbones.card import PackageFile, WeightCard
from radapt.backbones.packages import FetchError
from radapt.digests import digest, digest_file
from radapt.errors import UsageError
from radapt.locations import expanded, is_folder
from radapt.remote.offline import is_offline

_A = {"hub": "the hub", "package": "a package"}
_TOKENS = 1  # raised when the same weights give other tokens, so that stored features are not mixed


@dataclass(frozen=True)
class WeightSource:
    """A source of weights: `package`, `hub`, `file` or `random`.

    `identity` is part of cache keys: the file's digest, the hub's digest of the downloaded blob, or the seed. For hub
    weights that are not downloaded yet it names the repository only; `fetch` then gives the final source.
    """

    kind: str
    identity: str
    available: bool
    where: str
    """For messages: a path, a package, a repository, or the seed."""
    path: Path | None = None
    seed: int = 0
    fallback: bool = False
    """Whether `fetch` may take the weights from the hub if the package cannot be had."""

    @property
    def settled(self) -> bool:
        """Whether `identity` is final: the weights are here, or can only be the file whose digest the card names."""
        return self.available or (self.kind == "package" and not self.fallback)


def resolve(
    card: WeightCard, weights: str | Path | None = None, *, seed: int = 0, offline: bool = False
) -> WeightSource:
    """The source that `weights` means for `card`: `package`, `hub`, `random` or `random:SEED`, else a file or folder.

    None is what the card names: its package, else the hub, else random; with both, the one whose weights are on this
    machine. Uses neither the network (so `offline` has no effect yet) nor tensors; a local file is read once for its
    digest. UsageError if a named file does not exist, or if the card names no package or repository.
    """
    del offline
    if weights is None:
        return _of_card(card, seed)
    text = str(weights)
    if drawn := re.fullmatch(r"random(?::(\d+))?", text):
        return _random(int(drawn[1] or seed))
    if text not in ("hub", "package"):
        return _local(expanded(text))
    if text == "hub" and card.repo:
        return _hub(card)
    if text == "package" and card.package:
        return _package(card.package)
    known = [name for name, given in (("package", card.package), ("hub", card.repo), ("random", True)) if given]
    raise UsageError(
        f"The weights of {card.name} do not come from {_A[text]}. Expected weights {', '.join(known)}, or a file."
    )


def _of_card(card: WeightCard, seed: int) -> WeightSource:
    if card.package is None:
        return _hub(card) if card.repo else _random(seed)
    source = _package(card.package)
    if source.available or not card.repo:
        return source
    hub = _hub(card)
    return hub if hub.available else replace(source, fallback=True)


def _random(seed: int) -> WeightSource:
    return WeightSource("random", f"random:{seed}", True, f"random weights, seed {seed}", seed=seed)


def _package(wanted: PackageFile) -> WeightSource:
    """The card names the digest, so the identity is final before the download."""
    path, where = packages.stored(wanted), f"package {wanted.package} {wanted.version}"
    return WeightSource("package", f"package:{wanted.sha256}", path is not None, where, path)


def _hub(card: WeightCard) -> WeightSource:
    folder = expanded(card.repo)
    if card.repo.startswith((".", "/", "~")) or is_folder(folder):
        return _local(folder)
    path = _cached(card)
    if path is None:
        return WeightSource("hub", f"hub:{card.repo}", False, f"hub, {card.repo}")
    # The hub cache stores files under the hub's digest (SHA-256 for weights) and links them into a snapshot.
    blob = path.resolve().name
    blob = path.parent.name if blob == path.name else blob
    return WeightSource("hub", f"hub:{card.repo}/{path.name}@{blob}", True, f"hub cache, {card.repo}", path)


def fetch(card: WeightCard, source: WeightSource, *, offline: bool = False) -> WeightSource:
    """`source` with its file downloaded if needed; its identity is final. UsageError says what to do instead."""
    if source.available:
        return source
    if is_offline(offline):
        raise _unavailable(card, source, "working offline")
    try:
        return _from_package(card) if source.kind == "package" else _from_hub(card)
    except FetchError as error:
        if not source.fallback:
            raise _unavailable(card, source, str(error)) from error
        first = error
    try:
        return _from_hub(card)
    except FetchError as error:
        raise _unavailable(card, source, f"{first}; and {error}") from first


def _from_package(card: WeightCard) -> WeightSource:
    wanted = card.package
    if wanted is None:
        raise FetchError("its card names no package")
    packages.download(wanted)
    return _package(wanted)


def _from_hub(card: WeightCard) -> WeightSource:
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError, GatedRepoError, LocalEntryNotFoundError

    if not hub_is_reachable():
        raise FetchError("the hub cannot be reached")
    for name in card.files:
        try:
            hf_hub_download(card.repo, name)
        except GatedRepoError as error:
            raise FetchError("the hub requires you to accept their terms first") from error
        except LocalEntryNotFoundError as error:
            raise FetchError("the hub cannot be reached") from error
        except EntryNotFoundError:
            continue
        except (OSError, ValueError) as error:
            raise FetchError(str(error).splitlines()[0] if str(error) else type(error).__name__) from error
        return _hub(card)
    raise FetchError(f"the repository holds none of {', '.join(card.files)}")


def identity_of(card: WeightCard, source: WeightSource) -> str:
    """The digest of what decides tokens besides images, layers and dtype, 32 hex digits, without loading anything.

    The architecture with its options, the normalisation, the position recipe, and the weights. The name does not
    enter, so two names of the same encoder have the same identity.
    """
    options = [[name, str(value)] for name, value in card.options]
    geometry = [card.patch, card.position_recipe, list(card.mean), list(card.std), card.fixed]
    return digest([_TOKENS, card.architecture, options, geometry, source.identity])


def hub_cache() -> Path:
    """The download folder of the hub's client."""
    from huggingface_hub.constants import HF_HUB_CACHE

    return Path(HF_HUB_CACHE)


def _local(path: Path) -> WeightSource:
    from radapt.backbones.weight_files import find_files

    files = find_files(path)
    digests = [digest_of(file) for file in files]
    identity = digests[0] if len(digests) == 1 else digest(digests)
    return WeightSource("file", f"file:{identity}", True, str(path), path)


def digest_of(path: Path) -> str:
    """The digest of a file's bytes, computed again only if its size or modification time changes."""
    return _digest(str(path), path.stat().st_size, path.stat().st_mtime_ns)


@lru_cache(maxsize=64)
def _digest(path: str, size: int, modified_ns: int) -> str:
    return digest_file(Path(path))


def _cached(card: WeightCard) -> Path | None:
    from huggingface_hub import try_to_load_from_cache

    for name in card.files:
        path = try_to_load_from_cache(card.repo, name)
        if isinstance(path, str):
            return Path(path)
    return None


def hub_is_reachable() -> bool:
    """Whether the hub answers within seconds; its own client would try for half a minute.

    Behind a proxy the check is left to the client.
    """
    from huggingface_hub.constants import ENDPOINT

    if any(os.environ.get(name) for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy")):
        return True
    hub = urlsplit(ENDPOINT)
    try:
        socket.create_connection((hub.hostname, hub.port or (80 if hub.scheme == "http" else 443)), timeout=5).close()
    except OSError:
        return False
    return True


def _unavailable(card: WeightCard, source: WeightSource, why: str) -> UsageError:
    ways = [_way_of_package(card.name, card.package)] if source.kind == "package" and card.package else []
    ways += [_way_of_hub(card)] if source.kind == "hub" or source.fallback else []
    return UsageError(
        f"The weights of {card.name} are not on this machine and cannot be downloaded: {why}. {' '.join(ways)} Or copy "
        "the file anywhere and name it with --weights FILE, or weights: FILE in a study (parameter names of DINOv2, "
        "timm and transformers are accepted). `--weights random` needs no file."
    )


def _way_of_package(name: str, wanted: PackageFile) -> str:
    path = packages.stored_path(wanted)
    damaged = f" {path} is there, but is damaged or another file." if path.is_file() else ""
    return (
        f"They are {wanted.file} in the Python package {wanted.package} {wanted.version}.{damaged} On a machine with "
        f"network, `radapt backbones --fetch {name}` gets that file; copy it to {path} here."
    )


def _way_of_hub(card: WeightCard) -> str:
    access = f"They are gated: accept the terms on the page of {card.repo}, then `hf auth login` or set HF_TOKEN. "
    return (
        f"They come from the hub repository {card.repo} ({' or '.join(card.files)}). {access if card.gated else ''}On "
        f"a machine with network, `hf download {card.repo}` downloads them; copy that folder to {hub_cache()} here."
    )
