"""A camera's numbers for Prometheus, read off its publisher when they are asked for."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext

from prometheus_client import Metric
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from producers.metrics import serve_metrics
from producers.publisher import FramePublisher
from producers.recording.tape import NoTape, Tape
from producers.sources import Source

COUNTERS = {
    "captured": "Frames captured: each was given a seq.",
    "inherited": "Frames that an earlier session of this camera lost when it was killed.",
    "stored": "Frames whose verdict is stored.",
    "judged": "Frames whose pixels went because their verdict waited for Redis.",
    "resent": "Times a frame was taken back from a worker, to be sent again.",
}
GAUGES = {
    "open": "Frames without a stored verdict.",
    "workers": "Workers present.",
}
KEPT = {
    "kept_frames": "Frames kept with their pixels.",
    "kept_bytes": "Bytes of the pixels that are kept.",
}
TROUBLE = {
    "messages_refused": "Messages from workers that could not be read.",
    "keys_refused": "Handshakes with a key that is not on the list.",
    "unrecorded": "Frames that the recorder failed to take, beside those that it counts as dropped.",
    "journal_failures": "Writes of the journal that failed: frames would have been silent after a kill.",
}
RECORDING = {
    "recorded": "Frames that are in the recording, the last of them within its window.",
    "dropped": "Frames that the recording lacks: the disk was full or slow, or they could not be written.",
    "failures": "Times that something could not be written, most often because the disk refused.",
}
SOURCE_COUNTERS = {
    "source_outages": "Times a camera or stream was lost after it had sent pictures.",
    "source_outage_seconds": "Seconds without pictures because of that.",
    "source_skipped": "Pictures of a camera without a trigger that a newer one took the place of.",
    "source_incomplete": "Pictures that came incomplete or not at all: bad_frame.",
    "source_parts_announced": "Parts that a reader or the PLC announced.",
    "source_parts_without_picture": "Announced parts whose picture did not come, or may be another's: bad_frame.",
    "source_pictures_without_part": "Pictures whose part nobody announced, or that may be another's.",
}
SOURCE_GAUGES = {
    "source_up": "Whether the camera or stream sends pictures.",
}


class PublisherCollector(Collector):
    """Every outcome of a frame as a number, named `sightline_camera_*`, labelled with the camera.

    Args:
        publisher: whose frames they are.
        source: where they come from; a real camera has numbers of its own.
        tape: what records them; None: nothing does.
    """

    def __init__(self, publisher: FramePublisher, source: Source | None = None, tape: Tape | None = None) -> None:
        self._publisher, self._source, self._tape = publisher, source, tape or NoTape()

    def collect(self) -> Iterable[Metric]:
        """The numbers as they are now. Any thread."""
        counts, load = self._publisher.counts(), self._publisher.load()
        yield from self._families(CounterMetricFamily, COUNTERS, counts)
        yield from self._families(GaugeMetricFamily, GAUGES, counts)
        yield from self._families(GaugeMetricFamily, KEPT, load)
        yield from self._families(CounterMetricFamily, TROUBLE, load)
        gone = CounterMetricFamily(
            "sightline_camera_gone", "Frames given up beside the camera, by reason.", labels=("camera", "reason")
        )
        for reason, count in self._publisher.gone().items():
            gone.add_metric((self._publisher.settings.camera, reason), count)
        yield gone
        if recorded := self._tape.counts():
            texts = {f"recording_{name}": text for name, text in RECORDING.items()}
            named = {f"recording_{name}": value for name, value in recorded.items()}
            yield from self._families(CounterMetricFamily, texts, named)
        if self._source is not None:
            counted = self._source.load()
            yield from self._families(CounterMetricFamily, _those_in(counted, SOURCE_COUNTERS), counted)
            yield from self._families(GaugeMetricFamily, _those_in(counted, SOURCE_GAUGES), counted)

    def _families(
        self,
        kind: type[CounterMetricFamily] | type[GaugeMetricFamily],
        texts: Mapping[str, str],
        values: Mapping[str, float],
    ) -> Iterator[Metric]:
        for name, text in texts.items():
            family = kind(f"sightline_camera_{name}", text, labels=("camera",))
            family.add_metric((self._publisher.settings.camera,), values[name])
            yield family


def _those_in(counted: Mapping[str, float], texts: Mapping[str, str]) -> dict[str, str]:
    return {name: text for name, text in texts.items() if name in counted}


def camera_metrics(
    publisher: FramePublisher, address: tuple[str, int] | None, source: Source | None = None, tape: Tape | None = None
) -> AbstractContextManager[None]:
    """Serves a publisher's numbers and its source's, if there is an address.

    Ready means: at least one worker is here, and the source sends pictures, where that can be told.

    Raises:
        AddressTaken: the address can't be bound.
    """
    if address is None:
        return nullcontext()
    return serve_metrics(
        address,
        PublisherCollector(publisher, source, tape),
        ready=lambda: publisher.counts()["workers"] > 0 and _sends(source),
        missing=lambda: () if _sends(source) else ("the source sends no pictures",),
        alive=lambda: publisher.alive,
    )


def _sends(source: Source | None) -> bool:
    return source is None or bool(source.load().get("source_up", True))
