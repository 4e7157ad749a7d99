"""A camera's numbers for Prometheus, read off its publisher when they are asked for."""

from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext

from prometheus_client import Metric
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from producers.metrics import serve_metrics
from producers.publisher import FramePublisher
from producers.recording.tape import NoTape, Tape

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
    "journal_failures": "Writes of the journal that failed: frames would have been silent after a kill.",
}
RECORDING = {
    "recorded": "Frames that are in the recording, the last of them within its window.",
    "dropped": "Frames that the recording lacks, because the disk was full or slow.",
    "failures": "Times the disk refused what was recorded.",
}


class PublisherCollector(Collector):
    """Every outcome of a frame as a number, named `sightline_camera_*`, labelled with the camera."""

    def __init__(self, publisher: FramePublisher, tape: Tape | None = None) -> None:
        self._publisher, self._tape = publisher, tape or NoTape()

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

    def _families(
        self, kind: type[CounterMetricFamily] | type[GaugeMetricFamily], texts: dict[str, str], values: dict[str, int]
    ) -> Iterator[Metric]:
        for name, text in texts.items():
            family = kind(f"sightline_camera_{name}", text, labels=("camera",))
            family.add_metric((self._publisher.settings.camera,), values[name])
            yield family


def camera_metrics(
    publisher: FramePublisher, address: tuple[str, int] | None, tape: Tape | None = None
) -> AbstractContextManager[None]:
    """Serves a publisher's numbers, if there is an address. Ready means: at least one worker is here.

    Raises:
        AddressTaken: the address can't be bound.
    """
    if address is None:
        return nullcontext()
    return serve_metrics(
        address,
        PublisherCollector(publisher, tape),
        ready=lambda: publisher.counts()["workers"] > 0,
        alive=lambda: publisher.alive,
    )
