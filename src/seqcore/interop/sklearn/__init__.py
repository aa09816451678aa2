"""scikit-learn's estimators over sequences, and sequences of long data frames."""

try:
    # New in 1.6.
    from sklearn.utils.validation import validate_data as _  # noqa: F401
except ImportError as error:
    raise ImportError(
        "seqcore.interop.sklearn needs scikit-learn 1.6 or later: pip install 'seqcore[sklearn]'"
    ) from error

from .estimators import SequenceClassifier, SequenceRegressor
from .frames import sequences_from_frame

__all__ = ["SequenceClassifier", "SequenceRegressor", "sequences_from_frame"]
