"""What can go wrong beside the camera, as names. The command maps each root to an exit code."""


class ProducersError(Exception):
    """Root of every error that `producers` raises on purpose; its text is one sentence for a person."""


class SettingsError(ProducersError):
    """A setting is missing, unknown, of the wrong kind or unsafe. Raised before any socket opens."""


class AddressTaken(ProducersError):
    """A socket can't be bound: somebody else has the address, or this machine doesn't."""


class SourceError(ProducersError):
    """A source of frames can't be opened or read."""


class BadFrame(ProducersError):
    """A frame is unreadable, incomplete or not what its header says. It ends as a `bad_frame` verdict."""


class PublisherClosed(ProducersError):
    """A frame was offered to a publisher that is closed, or whose thread has failed. It was not captured."""


class JournalDamaged(ProducersError):
    """What an earlier session of a camera left can't be read. It is set aside and said, never a reason to stop."""


class RecordingError(ProducersError):
    """A recording can't be read, or is not one of ours."""


class ProtocolError(ProducersError):
    """A message is not of this protocol. It is counted and dropped; the peer is told where the protocol has a word."""
