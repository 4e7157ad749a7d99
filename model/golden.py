"""Golden images: pictures in a bundle whose outcome is known. A bundle that misjudges one of them is not used.

`golden/good/*` must pass; what lies in any other folder beside `good`, `golden/bad/*` for example, must fail. A bundle
without such a folder claims nothing.
"""

from pathlib import Path

from model.bundle import GOLDEN, Bundle
from model.dataset import pictures
from model.engine import Engine
from model.errors import BundleError, ContractError, DataError
from model.images import read_image

GOOD = "good"


def golden_images(path: Path) -> list[tuple[Path, bool]]:
    """Every golden image of the bundle at `path`, and whether it must pass.

    Raises:
        BundleError: there is a folder for them without a picture in it: somebody believes to be safer than they are.
    """
    folder = path / GOLDEN
    if not folder.exists():
        return []
    try:
        kinds = sorted(kind for kind in folder.iterdir() if kind.is_dir())
        found = [(picture, kind.name == GOOD) for kind in kinds for picture in pictures(kind)]
    except OSError as error:
        raise BundleError(f"golden images can't be read: {error.strerror} ({error.filename})") from error
    if not found:
        raise BundleError(f"{folder} holds no pictures: expected {folder / GOOD} and {folder / 'bad'}, or no {GOLDEN}")
    return found


def check_golden(path: Path, bundle: Bundle, engine: Engine) -> int:
    """Judges every golden image of the bundle at `path`, as the line would.

    Args:
        path: where the bundle lies.
        bundle: that bundle, in the engine's mode.
        engine: made from it. A picture that breaks the input contract fails, as on the line.

    Returns:
        How many there are; all of them were judged rightly.

    Raises:
        BundleError: one was not, or can't be read; the text names it.
    """
    images = golden_images(path)
    for picture, good in images:
        passed, said = _judge(picture, bundle, engine)
        if passed is not good:
            name = picture.relative_to(path).as_posix()
            must = "must pass and fails" if good else "must fail and passes"
            raise BundleError(f"bundle {bundle.label} misjudges its golden image {name}, which {must}: {said}")
    return len(images)


def _judge(picture: Path, bundle: Bundle, engine: Engine) -> tuple[bool, str]:
    """Whether it passes, and a word on why."""
    calibration = bundle.manifest.calibration
    try:
        image = read_image(picture)
        bundle.manifest.contract.check(image)
    except ContractError as error:
        return False, str(error)
    except DataError as error:
        raise BundleError(f"golden image {error}") from error
    score = engine.inspect([image])[0].score
    return calibration.passes(score), f"severity {calibration.severity(score):.2f}"
