"""Work shared by the processes of an MPI communicator: the sums and agreements that training needs.

Training itself is ``model.fit(..., distribute=comm)`` and ``Word2Vec.train(..., distribute=comm)`` with a communicator
of mpi4py.
"""

from .cost import Network, exchange_seconds
from .ranks import RaisedByAll, Ranks, Refused, digest, ends_together, installation, together

__all__ = [
    "Network",
    "RaisedByAll",
    "Ranks",
    "Refused",
    "digest",
    "ends_together",
    "exchange_seconds",
    "installation",
    "together",
]
