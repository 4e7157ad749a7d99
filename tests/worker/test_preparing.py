"""From bytes to pixels: what can't be judged is known before the engine is asked."""

import dataclasses
import math
import time

import numpy as np
import pytest

pytest.importorskip("torch")

from producers.frame import make_frame
from tests.worker.frames import received, tag
from worker.batcher import ReceivedFrame
from worker.bench.null import RECIPE, null_recipe
from worker.preparing import PreparedFrame, Unfit, prepare
from worker.verdict import Reason

RECIPES = {RECIPE: null_recipe()}
PIXELS = np.random.default_rng(0).integers(0, 256, (16, 24, 3), np.uint8)


def a_frame(deadline: float = math.inf, recipe: str = RECIPE) -> ReceivedFrame:
    made = make_frame(tag(5), PIXELS, color="rgb")
    return ReceivedFrame(made.header, made.payload, recipe, 1.0, 2, deadline)


def refused(frame: ReceivedFrame) -> Unfit:
    with pytest.raises(Unfit) as caught:
        prepare(frame, RECIPES)
    return caught.value


def test_a_prepared_frame_has_its_picture_its_bundle_and_what_it_had_before() -> None:
    before = a_frame(deadline=time.monotonic() + 60)
    after = prepare(before, RECIPES)
    assert np.array_equal(after.image, PIXELS)
    assert after.bundle is RECIPES[RECIPE]
    assert after.prepare_s > 0
    assert after.payload == b""
    kept = {field.name: getattr(after, field.name) for field in dataclasses.fields(ReceivedFrame)}
    assert ReceivedFrame(**{**kept, "payload": before.payload}) == before
    assert isinstance(after, PreparedFrame)


def test_a_view_of_the_sockets_memory_will_do() -> None:
    before = a_frame()
    view = dataclasses.replace(before, payload=memoryview(bytes(before.payload)))
    assert np.array_equal(prepare(view, RECIPES).image, PIXELS)


def test_a_frame_without_a_bundle_is_no_recipe() -> None:
    assert refused(a_frame(recipe="other")).reason is Reason.NO_RECIPE


def test_a_frame_whose_budget_is_over_is_not_decoded() -> None:
    assert refused(dataclasses.replace(a_frame(deadline=1.0), payload=b"broken")).reason is Reason.EXPIRED


def test_a_damaged_payload_is_a_bad_frame() -> None:
    error = refused(dataclasses.replace(a_frame(), payload=bytes(PIXELS.nbytes)))
    assert (error.reason, "checksum" in str(error)) == (Reason.BAD_FRAME, True)


def test_a_picture_that_breaks_the_bundles_contract_is_a_bad_frame() -> None:
    error = refused(dataclasses.replace(received(recipe=RECIPE)))  # 4 pixels high; 8 are the least
    assert (error.reason, "4 pixels high" in str(error)) == (Reason.BAD_FRAME, True)
