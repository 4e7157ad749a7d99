"""A bundle: one directory with everything to judge one recipe. No pickle anywhere in it.

`model.safetensors` holds every tensor of the network, `manifest.json` everything else and the weights' digest.
"""

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator
from safetensors import SafetensorError
from safetensors.torch import load, save

from model.backbone import BackboneName, build_backbone
from model.calibration import Calibration
from model.contract import InputContract
from model.errors import BundleError
from model.modes import Choice, Mode, ModeRecord, choose_device, choose_mode
from model.preprocessing import Preprocessing
from model.scoring import Scoring
from model.simplenet import AdaptorKind, FeatureExtractor, Head, SimpleNet, feature_channels

MANIFEST, WEIGHTS = "manifest.json", "model.safetensors"
TRAINING, SCORES = "training.json", "scores.png"
RECORDS = (TRAINING, "loss.png", SCORES)
"""How a bundle was made, for people: never read back, and not part of its digest."""
GOLDEN = "golden"
"""A folder of pictures whose outcome is known (`model.golden`). It is the recipe's: a bundle made anew keeps it."""
KNOWN = {MANIFEST, WEIGHTS, GOLDEN, *RECORDS}


class Architecture(BaseModel):
    """What to build before the weights are filled in: the network's arguments, as `simplenet` takes them."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    backbone: BackboneName = "resnet18"
    levels: tuple[Literal[1, 2, 3], ...] = Field(default=(2, 3), min_length=1, max_length=3)
    patch_size: int = Field(default=3, ge=1, le=31)
    adaptor: AdaptorKind = "linear"
    hidden: int = Field(default=1024, ge=1, le=65_536)

    @field_validator("levels")
    @classmethod
    def _finest_first(cls, levels: tuple[int, ...]) -> tuple[int, ...]:
        return tuple(sorted(set(levels)))

    @field_validator("patch_size")
    @classmethod
    def _odd(cls, patch_size: int) -> int:
        if patch_size % 2 == 0:
            raise ValueError("a neighbourhood has a middle: its size must be odd")
        return patch_size

    def grid(self, size: tuple[int, int]) -> tuple[int, int]:
        """The anomaly map's `(h, w)` for a network input of this size: that of the finest level used."""
        stride = 2 ** (min(self.levels) + 1)
        return (-(-size[0] // stride), -(-size[1] // stride))

    def build(self, *, weights: str, seed: int = 0) -> SimpleNet:
        """A network with an untrained head; `weights` and `seed` as in `build_backbone`.

        Raises:
            DataError: weights that can't be had or don't fit.
        """
        backbone = build_backbone(self.backbone, levels=self.levels, weights=weights, seed=seed)
        channels = feature_channels(backbone, (32, 32))
        head = Head(channels, hidden=self.hidden, adaptor=self.adaptor)
        return SimpleNet(FeatureExtractor(backbone, patch_size=self.patch_size), head)


class Manifest(BaseModel):
    """Everything about a bundle but its tensors.

    Attributes:
        format: version of this layout.
        name: the recipe it was made for.
        architecture: what to build.
        preprocessing: from picture to input.
        contract: which pictures it may judge.
        scoring: from anomaly map to score.
        calibration: threshold and its promise, in float32.
        modes: what faster ways to compute did on the same pictures, by `str(Mode)`.
        provenance: how it was made (settings, picture counts, seed); for people, never read back.
        weights_sha256: of `model.safetensors`.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    format: Literal[1] = 1
    name: str
    architecture: Architecture
    preprocessing: Preprocessing
    contract: InputContract
    scoring: Scoring = Scoring()
    calibration: Calibration
    modes: dict[str, ModeRecord] = {}
    provenance: dict[str, str | int | float | bool | None]
    weights_sha256: str

    @model_validator(mode="after")
    def _mask_fits(self) -> "Manifest":
        shape = self.architecture.grid(self.preprocessing.crop)
        if not self.scoring.fits(shape):
            raise ValueError(f"the ignore mask is not {shape[0]} x {shape[1]} cells, as the network's map is")
        return self


def label(name: str, digest: str) -> str:
    """`name@digest`, the twelve first hex digits: what each verdict carries as its model."""
    return f"{name}@{digest[:12]}"


class Bundle:
    """A network and its manifest, ready for an `Engine`.

    Attributes:
        network: in evaluation mode.
        manifest: see `Manifest`.
        mode: how it is computed; None: in float32.
        digest: sha256 over the manifest, which holds the weights' own: it names the whole bundle.
    """

    def __init__(self, network: SimpleNet, manifest: Manifest, digest: str, mode: Mode | None = None) -> None:
        self.network = network
        self.mode = mode
        self.manifest = manifest
        self.digest = digest

    @property
    def label(self) -> str:
        """See `label`."""
        return label(self.manifest.name, self.digest)

    def on(self, device: str, engine: str = "auto") -> "Bundle":
        """The bundle as this machine judges with it: in the fastest mode that is admitted, with that mode's threshold.

        Args:
            device: `auto`, `cpu`, `cuda` or `cuda:1`.
            engine: `auto`, `torch` or `openvino`.

        Raises:
            DataError: no such device or engine here, or the engine was not measured when the threshold was set.
        """
        mode = self.choice(device, engine).mode
        record = self.manifest.modes.get(str(mode))
        changed = self.manifest.model_copy(update={"calibration": record.calibration} if record else {})
        return Bundle(self.network, changed, self.digest, mode)

    def choice(self, device: str, engine: str = "auto") -> Choice:
        """The mode that `on` takes, and why."""
        mode, why = choose_mode(self.manifest.modes, choose_device(device), engine)
        if self.manifest.architecture.adaptor == "mlp":
            why += "; its head runs unfused: an MLP adaptor does not fold"
        return Choice(mode, why)


def write_bundle(
    out: Path, network: SimpleNet, *, records: Mapping[str, bytes] | None = None, **manifest: object
) -> Bundle:
    """Writes a bundle whole or not at all: into a neighbouring directory, synced, then renamed.

    Args:
        out: the bundle's directory; an older bundle there is replaced, but for its golden images; anything else is
            left alone.
        network: its tensors are stored.
        records: some of `RECORDS`, by name.
        manifest: the fields of `Manifest` but `weights_sha256`.

    Raises:
        BundleError: `out` is something other than a bundle, or can't be written.
    """
    refuse_foreign(out)
    tensors = save({name: tensor.contiguous() for name, tensor in network.state_dict().items()})
    described = Manifest.model_validate({**manifest, "weights_sha256": hashlib.sha256(tensors).hexdigest()})
    text = described.model_dump_json(indent=2).encode() + b"\n"
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{out.name}.", dir=out.parent) as scratch:
            fresh = Path(scratch) / "fresh"
            fresh.mkdir()
            _write_synced(fresh / WEIGHTS, tensors)
            _write_synced(fresh / MANIFEST, text)
            for name, content in (records or {}).items():
                _write_synced(fresh / name, content)
            if (out / GOLDEN).is_dir():
                shutil.copytree(out / GOLDEN, fresh / GOLDEN)
            _exchange(out, fresh, old=Path(scratch) / "old")
    except OSError as error:
        raise BundleError(f"bundle {out} can't be written: {error}") from error
    return Bundle(network.eval(), described, hashlib.sha256(text).hexdigest())


def _exchange(out: Path, fresh: Path, *, old: Path) -> None:
    """Puts `fresh` in the place of `out`; if that fails, what was there comes back."""
    if not out.exists():
        fresh.rename(out)
        return
    out.rename(old)
    try:
        fresh.rename(out)
    except OSError:
        old.rename(out)
        raise


def refuse_foreign(out: Path) -> None:
    """Raises `BundleError` if `out` holds anything but a bundle: training must not wipe somebody's folder."""
    if out.exists() and not (out.is_dir() and {path.name for path in out.iterdir()} <= KNOWN):
        raise BundleError(f"{out} exists and is not a bundle; choose another --out")


def read_bundle(path: Path) -> Bundle:
    """Reads a bundle and checks its digest.

    Raises:
        BundleError: missing, damaged, of another format, or its weights are not those the manifest names.
    """
    try:
        text, tensors = (path / MANIFEST).read_bytes(), (path / WEIGHTS).read_bytes()
    except OSError as error:
        raise BundleError(f"bundle {path} can't be read: {error.strerror} ({error.filename})") from error
    manifest = _parse_manifest(path, text)
    found = hashlib.sha256(tensors).hexdigest()
    if found != manifest.weights_sha256:
        raise BundleError(
            f"bundle {path} is damaged: {WEIGHTS} has sha256 {found[:12]}..., "
            f"the manifest says {manifest.weights_sha256[:12]}..."
        )
    network = manifest.architecture.build(weights="none")
    try:
        network.load_state_dict(load(tensors))
    except (RuntimeError, SafetensorError) as error:
        raise BundleError(f"bundle {path} is damaged: its tensors don't fit its architecture") from error
    return Bundle(network.eval(), manifest, hashlib.sha256(text).hexdigest())


def read_manifest(path: Path) -> tuple[Manifest, str]:
    """A bundle's manifest and its digest; the weights are not looked at.

    Raises:
        BundleError: missing, damaged or of another format.
    """
    try:
        text = (path / MANIFEST).read_bytes()
    except OSError as error:
        raise BundleError(f"bundle {path} can't be read: {error.strerror} ({error.filename})") from error
    return _parse_manifest(path, text), hashlib.sha256(text).hexdigest()


def _parse_manifest(path: Path, text: bytes) -> Manifest:
    try:
        return Manifest.model_validate(json.loads(text))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "it"
        raise BundleError(f"bundle {path} has a bad manifest: {where}: {first['msg']}") from error
    except (ValueError, RecursionError) as error:
        raise BundleError(f"bundle {path} has a bad manifest: it is not JSON") from error


def _write_synced(path: Path, data: bytes) -> None:
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
