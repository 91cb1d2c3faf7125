"""Errors that are the user's to mend: one sentence that names the field, the value, the rule and
the way out.
"""


class AutonbaError(Exception):
    """Base of every error reported to a user as one sentence and exit code 2."""


class SpecError(AutonbaError):
    """A network, accelerator, board or option breaks a rule."""


class BundleError(AutonbaError):
    """A file of a design bundle is missing, corrupt or inconsistent with the others."""


class CapacityError(AutonbaError):
    """A design does not fit its board: names the resource, the need and the limit."""


class DeadlockError(AutonbaError):
    """Buffers are too small for the network to make progress: names the tensor."""


class DataError(AutonbaError):
    """A data set cannot be read: names the file."""


class MismatchError(AutonbaError):
    """The hardware differs from the golden model or the schedule."""


class ToolError(AutonbaError):
    """An external tool is missing or failed: names the tool, its first error line, the log and the
    next step.
    """
