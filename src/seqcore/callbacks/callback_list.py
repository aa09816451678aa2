"""List of callbacks that is called like one."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from .._validation import boolean, class_of, default_only
from .callback import Callback, Logs
from .history import History

_HOOKS = [name for name in vars(Callback) if name.startswith("on_") and not name.startswith("on_batch_")]


def _defines(callback: Callback, name: str) -> bool:
    hook = getattr(callback, name)
    return getattr(hook, "__func__", hook) is not getattr(Callback, name)


class CallbackList:
    """List of callbacks that is called like one. A hook that no callback defines costs nothing.

    Args:
        callbacks: the callbacks, called in this order; those with ``runs_last`` come after all others.
        add_history: append a :class:`History` unless there is one; False by default.
        add_progbar: accepted only as False.
        model: the model of each callback.
        is_main: call the callbacks that print or write files too; False in the second and further processes that
            train a model together.
        params: the ``params`` of each callback: ``epochs``, ``steps`` (per epoch, or None), ``verbose``.

    Raises:
        TypeError: an element that is not a :class:`Callback`.

    >>> history = History()
    >>> callbacks = CallbackList([history], model=None, epochs=1)
    >>> callbacks.on_train_begin()
    >>> callbacks.on_epoch_end(0, {"loss": 0.5})
    >>> history.history
    {'loss': [0.5]}
    """

    def __init__(
        self,
        callbacks: Iterable[Callback] | None = None,
        add_history: bool = False,
        add_progbar: bool = False,
        model: Any = None,
        is_main: bool = True,
        **params: Any,
    ) -> None:
        default_only("add_progbar", add_progbar, False, "pass a ProgressBar among the callbacks")
        self.callbacks: list[Callback] = []
        self.model, self.params, self._is_main = model, params, is_main
        self._hooks: dict[str, list[Callable[..., None]]] = {}
        for callback in sorted(callbacks or (), key=lambda callback: getattr(callback, "runs_last", False)):
            self.append(callback)
        if boolean("add_history", add_history) and not any(
            isinstance(callback, History) for callback in self.callbacks
        ):
            self.append(History())

    def append(self, callback: Callback) -> None:
        """Append a callback."""
        if not isinstance(callback, Callback):
            got = class_of(callback)
            if isinstance(callback, type):
                got = f"the class {callback.__name__}; make an object of it: {callback.__name__}(...)"
            raise TypeError(f"callbacks: expected Callback objects, got {got}")
        self.callbacks.append(callback)
        callback.set_params(self.params)
        callback.set_model(self.model)
        for name in _HOOKS if self._is_main or not callback.main_only else ():
            if _defines(callback, name) or _defines(callback, name.replace("_train_batch_", "_batch_")):
                self._hooks.setdefault(name, []).append(getattr(callback, name))

    def set_params(self, params: dict[str, Any]) -> None:
        self.params = params
        for callback in self.callbacks:
            callback.set_params(params)

    def set_model(self, model: Any) -> None:
        self.model = model
        for callback in self.callbacks:
            callback.set_model(model)

    def get_state(self) -> list[Any]:
        """Class and state of each callback that has a state."""
        return [[type(callback).__name__, state] for callback in self.callbacks if (state := callback.get_state())]

    def set_state(self, states: list[Any]) -> None:
        """Continue from a :meth:`get_state` of callbacks of the same classes.

        Raises:
            ValueError: a state belongs to a callback that is not in the list.
        """
        waiting = list(self.callbacks)
        for name, state in states:
            callback = next((callback for callback in waiting if type(callback).__name__ == name), None)
            if callback is None:
                raise ValueError(f"callbacks: expected a {name}, as in the fit that is resumed, got none")
            waiting.remove(callback)
            callback.set_state(state)

    def __iter__(self) -> Any:
        return iter(self.callbacks)

    def has(self, hook: str) -> bool:
        """True if a callback defines this hook, so that its logs are worth computing."""
        return hook in self._hooks

    def _call(self, hook: str, logs: Logs | None, *position: int) -> None:
        functions = self._hooks.get(hook)
        if functions:
            # A dict in every hook, as in Keras.
            logs = {} if logs is None else logs
            for function in functions:
                function(*position, logs)

    def on_train_begin(self, logs: Logs | None = None) -> None:
        self._call("on_train_begin", logs)

    def on_train_end(self, logs: Logs | None = None) -> None:
        self._call("on_train_end", logs)

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        self._call("on_epoch_begin", logs, epoch)

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        self._call("on_epoch_end", logs, epoch)

    def on_train_batch_begin(self, batch: int, logs: Logs | None = None) -> None:
        self._call("on_train_batch_begin", logs, batch)

    def on_train_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        self._call("on_train_batch_end", logs, batch)

    def on_test_begin(self, logs: Logs | None = None) -> None:
        self._call("on_test_begin", logs)

    def on_test_end(self, logs: Logs | None = None) -> None:
        self._call("on_test_end", logs)

    def on_test_batch_begin(self, batch: int, logs: Logs | None = None) -> None:
        self._call("on_test_batch_begin", logs, batch)

    def on_test_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        self._call("on_test_batch_end", logs, batch)

    def on_predict_begin(self, logs: Logs | None = None) -> None:
        self._call("on_predict_begin", logs)

    def on_predict_end(self, logs: Logs | None = None) -> None:
        self._call("on_predict_end", logs)

    def on_predict_batch_begin(self, batch: int, logs: Logs | None = None) -> None:
        self._call("on_predict_batch_begin", logs, batch)

    def on_predict_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        self._call("on_predict_batch_end", logs, batch)
