"""ResetStates: carried states that start at zero in each epoch."""

from __future__ import annotations

from .callback import Callback, Logs


class ResetStates(Callback):
    """Zero the carried states of stateful layers at the start of each epoch, as one text that is read again needs it.

    >>> from seqcore import Sequential, layers
    >>> model = Sequential([layers.LSTM(3, stateful=True), layers.Dense(1)])
    >>> model.compile("sgd", "mse")
    >>> x, y = [[[1.0], [2.0]]], [[1.0]]
    >>> history = model.fit(x, y, epochs=2, callbacks=[ResetStates()], verbose=0)
    """

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        self.model.reset_states()
