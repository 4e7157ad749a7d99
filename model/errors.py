"""What can go wrong in the model, as names. The command maps each root to an exit code."""


class ModelError(Exception):
    """Root of every error that `model` raises on purpose; its text is one sentence for a person."""


class BundleError(ModelError):
    """A bundle can't be read, written or trusted."""


class DataError(ModelError):
    """Pictures or weights are missing, unreadable or of the wrong kind."""


class ContractError(DataError):
    """A picture breaks a bundle's input contract: it may be inspected by no one, so it fails."""
