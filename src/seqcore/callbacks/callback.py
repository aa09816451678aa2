"""Base class of callbacks."""

from __future__ import annotations

from typing import Any

from .._validation import short_repr

Logs = dict[str, Any]


class Callback:
    """Base class of callbacks; its hooks do nothing.

    ``fit``, ``evaluate`` and ``predict`` call the hooks. In each, ``logs`` is a dict of names and numbers, empty where
    there are none. An entry that a callback adds to the logs of ``on_epoch_end`` reaches the callbacks after it.

    Attributes:
        model: the model, set before the first hook.
        params: ``epochs``, ``steps`` (per epoch, or None) and ``verbose``.

    >>> import numpy as np
    >>> from seqcore import Sequential, layers
    >>> class Epochs(Callback):
    ...     def on_epoch_end(self, epoch, logs=None):
    ...         print(epoch, *logs)
    >>> model = Sequential([layers.Input((2,)), layers.Dense(1)])
    >>> model.compile("sgd", "mse")
    >>> history = model.fit(np.ones((4, 2)), np.ones((4, 1)), epochs=2, verbose=0, callbacks=[Epochs()])
    0 loss
    1 loss
    """

    model: Any = None
    params: dict[str, Any] = {}
    # Called after all callbacks without this mark, whatever its position in the list.
    runs_last = False
    # True for a callback that prints or writes files: where several processes train, only the first one calls it.
    main_only = False
    # Names and types of the attributes that :meth:`get_state` returns.
    _state: dict[str, Any] = {}

    def __getstate__(self) -> dict[str, Any]:
        """The attributes for pickle and copy, without the model, which the next ``fit`` sets again."""
        return {name: value for name, value in self.__dict__.items() if name != "model"}

    def get_state(self) -> dict[str, Any]:
        """State that changes during training, for :class:`BackupAndRestore`.

        A subclass with a state overrides it together with :meth:`set_state`.

        Returns:
            Names and numbers, texts, arrays, lists and dicts of them.
        """
        return {name: getattr(self, name) for name in self._state}

    def set_state(self, state: dict[str, Any]) -> None:
        """Continue from a :meth:`get_state`; called after :meth:`on_train_begin`.

        Raises:
            ValueError: for the state of another callback.
        """
        if state.keys() != self._state.keys():
            raise ValueError(f"state: expected {', '.join(self._state)}, got {', '.join(state)}")
        for name, value in state.items():
            if not isinstance(value, self._state[name]):
                raise ValueError(f"{name}: expected a value of a {type(self).__name__}, got {short_repr(value)}")
        for name, value in state.items():
            setattr(self, name, value)

    def set_model(self, model: Any) -> None:
        self.model = model

    def set_params(self, params: dict[str, Any]) -> None:
        self.params = params

    def on_train_begin(self, logs: Logs | None = None) -> None: ...

    def on_train_end(self, logs: Logs | None = None) -> None: ...

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None: ...

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None: ...

    def on_batch_begin(self, batch: int, logs: Logs | None = None) -> None: ...

    def on_batch_end(self, batch: int, logs: Logs | None = None) -> None: ...

    def on_train_batch_begin(self, batch: int, logs: Logs | None = None) -> None:
        self.on_batch_begin(batch, logs)

    def on_train_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        self.on_batch_end(batch, logs)

    def on_test_begin(self, logs: Logs | None = None) -> None: ...

    def on_test_end(self, logs: Logs | None = None) -> None: ...

    def on_test_batch_begin(self, batch: int, logs: Logs | None = None) -> None: ...

    def on_test_batch_end(self, batch: int, logs: Logs | None = None) -> None: ...

    def on_predict_begin(self, logs: Logs | None = None) -> None: ...

    def on_predict_end(self, logs: Logs | None = None) -> None: ...

    def on_predict_batch_begin(self, batch: int, logs: Logs | None = None) -> None: ...

    def on_predict_batch_end(self, batch: int, logs: Logs | None = None) -> None: ...
