"""The errors of pyarrow, which the modules that read with it raise as errors of this package."""

import pyarrow as pa

ARROW_ERRORS = (
    *(pa.ArrowException, OSError, ValueError, LookupError, TypeError),
    *(AttributeError, OverflowError, RuntimeError),
)
"""The errors that pyarrow, and reading what it returns, raise about data that is not valid."""
