"""Mistakes that a person can mend: the programs print the message alone, without a traceback."""


class UserError(Exception):
    """One sentence that names the value, the place and the choices."""


class DataError(UserError):
    """A dataset that is missing, damaged or too small."""


class DataMissing(DataError):
    """No dataset anywhere, and none could be fetched: nothing is damaged."""


class RunError(UserError):
    """A run folder that cannot be used as asked."""
