"""Trainer: fit, evaluate and predict, and their forms for one batch.

B: batch, T: time steps, N: rows of the whole data.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from numpy.typing import DTypeLike

from .. import losses, random
from .._validation import boolean, integer, is_array, real
from ..callbacks import CallbackList, History, ProgressBar
from ..distributed import Ranks, ends_together
from .batch import Batch, make_batch, pack_batch
from .compiling import Compilable
from .data_adapters import DataAdapter, make_adapter, make_validation_adapter
from .fit_state import FitState
from .outputs import concatenate, to_arrays
from .processes import DataParallel, OneProcess, Run


class Trainer(Compilable):
    """A layer that can be compiled and trained; the base of ``Model``."""

    def __init__(self, *, name: str | None, trainable: bool, dtype: DTypeLike | None, **unknown: Any) -> None:
        super().__init__(name=name, trainable=trainable, dtype=dtype, **unknown)
        self.stop_training = self.stop_evaluating = self.stop_predicting = False
        self.history: History | None = None
        # The state of a running ``fit``, for callbacks that save and resume it.
        self.fit_state: FitState | None = None

    def _runner(self, hook: str) -> Run:
        """The function for one batch: the step itself, or an override of ``train_step`` or ``test_step``."""
        step = self.require_compiled(hook)
        if self.overrides(hook):
            return partial(self._run_step, hook)
        return step.train if hook == "train_step" else step.test

    # ------------------------------------------------------------ one batch

    def train_on_batch(
        self,
        x: Any,
        y: Any = None,
        sample_weight: Any = None,
        class_weight: Any = None,
        return_dict: bool = False,
        *,
        lengths: Any = None,
    ) -> Any:
        """One update by one batch.

        Args:
            x: (B, ...) inputs, or a list or dict of arrays for a model with several.
            y: (B, ...) targets; a list or dict of arrays for a model with several outputs.
            sample_weight: (B,) or (B, T); for several outputs also a list or dict of such.
            class_weight: class -> weight.
            return_dict: return {"loss": ..., metric: ...}.
            lengths: (B,) valid steps of each row of x.

        Returns:
            The loss of the batch before the update, a list with the metrics if there are any, or a dict.

        Raises:
            ValueError, TypeError: naming the argument; weights and states are then unchanged.
        """
        sparse = None if class_weight is None else self._has_sparse_targets()
        data = x, y, sample_weight, class_weight, lengths, sparse
        return self._step_on_batch("train_step", return_dict, data)

    def test_on_batch(
        self, x: Any, y: Any = None, sample_weight: Any = None, return_dict: bool = False, *, lengths: Any = None
    ) -> Any:
        """Loss and metrics of one batch, as :meth:`train_on_batch` returns them, without an update.

        Stateful layers continue from their state, as in a plain call.
        """
        return self._step_on_batch("test_step", return_dict, (x, y, sample_weight, None, lengths, None))

    def _step_on_batch(self, hook: str, return_dict: bool, data: tuple[Any, Any, Any, Any, Any, Any]) -> Any:
        return_dict = boolean("return_dict", return_dict)
        run = self._runner(hook)
        self._reset_metrics()
        return self._results(run(make_batch(*data, self._step.inspection.several)), return_dict)

    def predict_on_batch(self, x: Any, *, lengths: Any = None) -> Any:
        """Output of one batch as an array. Stateful layers continue from their state, as in a plain call."""
        return self._predict_batch(make_batch(x, lengths=lengths))

    def _predict_batch(self, batch: Batch) -> Any:
        """Output of one batch as arrays."""
        hook = self.overrides("predict_step")
        return to_arrays(self.predict_step(pack_batch(batch)) if hook else self(batch.x, training=False))

    def _results(self, returned: dict[str, float] | None, return_dict: bool) -> Any:
        """The logs of the metrics or of a hook, or their values: known names in order, then others by name."""
        logs = self._logs(returned)
        if return_dict:
            return logs
        values = list(logs.values())
        if returned is not None or not self._step.inspection.plain_logs:
            known = [name for name in self.metrics_names if name in logs]
            values = [logs[name] for name in [*known, *sorted(set(logs) - set(known))]]
        return values[0] if len(values) == 1 else values

    # ------------------------------------------------------------ loops

    @ends_together
    def fit(
        self,
        x: Any = None,
        y: Any = None,
        batch_size: int | None = None,
        epochs: int = 1,
        verbose: int | str = "auto",
        callbacks: Any = None,
        validation_split: float = 0.0,
        validation_data: Any = None,
        shuffle: bool = True,
        class_weight: Any = None,
        sample_weight: Any = None,
        initial_epoch: int = 0,
        steps_per_epoch: int | None = None,
        validation_steps: int | None = None,
        validation_batch_size: int | None = None,
        validation_freq: int | Sequence[int] = 1,
        *,
        lengths: Any = None,
        distribute: Any = None,
    ) -> History:
        """Train for ``epochs - initial_epoch`` epochs.

        Args:
            x: (N, ...) array or Tensor, also of another library, a list or dict of arrays for a model with several
                inputs, or batches x, (x, y) or (x, y, sample_weight): an iterable such as a list of tuples or a
                ``DataLoader``, a generator, or an object with ``__getitem__`` such as Keras's ``PyDataset``. A Tensor
                may carry ``lengths`` or ``mask``.
            y: (N, ...) targets; a list or dict of arrays, as the loss of ``compile`` is, for several outputs.
            batch_size: rows of a batch, 32 by default.
            verbose: 0 silent, 1 progress bar, 2 one line per epoch, "auto" by the kind of output.
            callbacks: callbacks, called in order.
            validation_split: this share of the last rows is held back for validation.
            validation_data: (x, y), (x, y, sample_weight) or batches.
            shuffle: a new order each epoch, from the seeded global generator: of the rows of arrays, of the batches of
                an object with ``__getitem__``; what is iterated keeps its order, and so do stateful models.
            class_weight: class -> weight; targets are class ids, also one per step, or one-hot.
            sample_weight: (N,) or (N, T); for several outputs also a list or dict of such.
            initial_epoch: number of the first epoch, for resumed runs.
            steps_per_epoch: batches per epoch; the next epoch continues after them. Where the data end within an epoch
                it is shorter, with a warning, and the next one starts again.
            validation_steps, validation_batch_size: the same for validation, which always starts with the first batch.
            validation_freq: after how many epochs validation takes place, or a list of epochs counted from 1.
            lengths: (N,) valid steps of each row of x.
            distribute: communicator of mpi4py, such as ``MPI.COMM_WORLD``, whose processes all call this with the same
                arguments: each computes its share of the rows of every batch, and the sum of the gradients updates the
                weights in all. The first one's weights are taken at the start. See docs/guide/distributed.md.

        Returns:
            The ``History``: its ``history`` has a list per epoch for each name in the logs.

        Stateful layers carry their state from batch to batch and from epoch to epoch (``reset_states`` in a callback
        zeroes it); their rows must divide into whole batches. Ctrl-C leaves the model as the last whole batch left it.

        >>> import numpy as np
        >>> from seqcore import Sequential, layers, random
        >>> random.set_seed(1)
        >>> model = Sequential([layers.Input((2,)), layers.Dense(1)])
        >>> model.compile("sgd", "mse")
        >>> x = np.random.default_rng(0).normal(size=(64, 2))
        >>> history = model.fit(x, x[:, :1], epochs=3, verbose=0)
        >>> history.history["loss"][2] < history.history["loss"][0]
        True
        """
        step = self.require_compiled("train_step")
        epochs, initial_epoch = integer("epochs", epochs, 0), integer("initial_epoch", initial_epoch, 0)
        validation_epochs = _validation_epochs(validation_freq)
        shuffle = boolean("shuffle", shuffle)
        stateful, several = self._is_stateful(), self._step.inspection.several
        if validation_split is not None and real("validation_split", validation_split, 0.0, 1.0, open_high=True):
            if validation_data is not None:
                raise ValueError("validation_split: expected 0 where validation_data is given")
            whole = make_adapter(x, y, sample_weight, lengths=lengths, batch_size=batch_size, several=several)
            (x, y, sample_weight), validation_data = whole.split(validation_split)
            lengths = None
        validation: DataAdapter | None = None
        if validation_data is not None:
            self.require_compiled("test_step")
            needs_targets = not (self.overrides("test_step") or self.overrides("compute_loss"))
            validation = make_validation_adapter(
                validation_data, validation_steps, validation_batch_size, batch_size, stateful, needs_targets, several
            )
        else:
            freq = None if validation_freq == 1 else validation_freq
            unused = {"steps": validation_steps, "batch_size": validation_batch_size, "freq": freq}
            for name, value in unused.items():
                if value is not None:
                    raise ValueError(
                        f"validation_{name}: expected validation_data or validation_split with it, got neither"
                    )
        data = make_adapter(
            x,
            y,
            sample_weight,
            lengths=lengths,
            batch_size=batch_size,
            shuffle=shuffle,
            stateful=stateful,
            class_weight=class_weight,
            sparse=self._has_sparse_targets(),
            several=several,
            steps=steps_per_epoch,
            steps_name="steps_per_epoch",
        )
        if validation is not None and validation.once and validation_steps is None:
            if sum(map(validation_epochs, range(initial_epoch + 1, epochs + 1))) > 1:
                raise ValueError(
                    "validation_data: expected data that can be walked more than once, got an iterator; pass "
                    "validation_steps or an object whose __iter__ starts again"
                )
        if data.once and steps_per_epoch is None and epochs - initial_epoch > 1:
            raise ValueError(
                "x: expected data that can be walked once per epoch, got an iterator; pass steps_per_epoch or an "
                "object whose __iter__ starts again"
            )
        processes = OneProcess() if distribute is None else DataParallel(Ranks(distribute), self)
        callback_list = self._callback_list(
            callbacks, verbose, epochs=epochs, steps=data.steps, history=True, is_main=processes.is_main
        )
        # Changes inside a list or a plain layer are not noticed.
        step.stale = True
        processes.begin(data, validation, callback_list, range(initial_epoch, epochs))
        self.fit_state = FitState(self, data, validation, callback_list, initial_epoch, processes)
        return self._fit(self.fit_state, epochs, validation_epochs)

    def _fit(self, state: FitState, epochs: int, validation_epochs: Callable[[int], bool]) -> History:
        self.stop_training = False
        try:
            state.callbacks.on_train_begin()
            logs: dict[str, float] = {}
            while state.epoch < epochs and (state.batch or not (state.stopped or state.data.exhausted)):
                trained = self._fit_epoch(state, validation_epochs)
                if trained is None:
                    break
                logs = trained
                state.next_epoch()
            state.processes.end()
            state.callbacks.on_train_end(logs)
        finally:
            self.fit_state = None
            random.set_rows(None)
        assert self.history is not None
        return self.history

    def _fit_epoch(self, state: FitState, validation_epochs: Callable[[int], bool]) -> dict[str, float] | None:
        """Train for one epoch, or for the rest of one; its logs, or None where the data had ended before it."""
        epoch, callbacks, processes = state.epoch, state.callbacks, state.processes
        run = processes.runner(self._runner("train_step"), trains=True)
        callbacks.on_epoch_begin(epoch)
        if not state.batch:
            self._reset_metrics()
        for number, batch in enumerate(() if state.stopped else state.data, state.batch):
            callbacks.on_train_batch_begin(number)
            state.count_batch(run(batch))
            if callbacks.has("on_train_batch_end"):
                callbacks.on_train_batch_end(number, dict(self._logs(state.logs)))
            if processes.any(self.stop_training):
                self.stop_training = True
                break
        if not state.batch:
            if state.data.exhausted and epoch > state.initial_epoch:
                return None
            raise ValueError("x: expected at least one batch per epoch, got none")
        state.logs = dict(self._logs(state.logs))
        logs = dict(state.logs)
        validation = state.validation
        if validation is not None and validation_epochs(epoch + 1) and not validation.exhausted:
            run_test = processes.runner(self._runner("test_step"), trains=False)
            validated = self._evaluate(validation, callbacks, run_test)
            logs.update((f"val_{name}", value) for name, value in validated.items())
        callbacks.on_epoch_end(epoch, logs)
        self.stop_training = processes.any(self.stop_training)
        return logs

    def evaluate(
        self,
        x: Any = None,
        y: Any = None,
        batch_size: int | None = None,
        verbose: int | str = "auto",
        sample_weight: Any = None,
        steps: int | None = None,
        callbacks: Any = None,
        return_dict: bool = False,
        *,
        lengths: Any = None,
    ) -> Any:
        """Loss and metrics over all of the data.

        Args:
            x, y, sample_weight, lengths: the data, as in :meth:`fit`.
            batch_size: rows of a batch, 32 by default.
            verbose: 0 silent, 1 or "auto" progress bar, 2 one line.
            steps: batches to evaluate on; all by default.
            callbacks: callbacks, called in order.
            return_dict: return {"loss": ..., metric: ...}.

        Returns:
            The loss, a list with the metrics if there are any, or a dict. The mean of the loss weighs each batch by its
            rows, or by its valid steps where a mask or lengths leave some out.

        Stateful layers start from zero and carry a separate state; the state of training comes back afterwards.
        """
        return_dict = boolean("return_dict", return_dict)
        self.require_compiled("test_step")
        data = make_adapter(
            x,
            y,
            sample_weight,
            lengths=lengths,
            batch_size=batch_size,
            stateful=self._is_stateful(),
            several=self._step.inspection.several,
            steps=steps,
        )
        callback_list = self._callback_list(callbacks, verbose, epochs=1, steps=data.steps)
        logs = self._evaluate(data, callback_list, self._runner("test_step"))
        if not logs and data.exhausted:
            raise ValueError("x: expected at least one batch to evaluate on, got none")
        return self._results(logs, return_dict)

    def _evaluate(self, data: DataAdapter, callback_list: CallbackList, run: Run) -> dict[str, float]:
        self.stop_evaluating = False
        self._reset_metrics()
        data.restart()
        callback_list.on_test_begin()
        number, returned = -1, None
        with self.state_scope():
            for number, batch in enumerate(data):
                callback_list.on_test_batch_begin(number)
                returned = run(batch)
                data.taken += 1
                if callback_list.has("on_test_batch_end"):
                    callback_list.on_test_batch_end(number, dict(self._logs(returned)))
                if self.stop_evaluating:
                    break
        # An exhausted iterator has already warned; training continues without validation.
        if number < 0 and not data.exhausted:
            raise ValueError("x: expected at least one batch to evaluate on, got none")
        logs = self._logs(returned) if number >= 0 else {}
        callback_list.on_test_end(logs)
        return logs

    def predict(
        self,
        x: Any,
        batch_size: int | None = None,
        verbose: int | str = "auto",
        steps: int | None = None,
        callbacks: Any = None,
        *,
        lengths: Any = None,
    ) -> Any:
        """Outputs for all of the data.

        Args:
            x, lengths: the data, as in :meth:`fit`.
            batch_size: rows of a batch, 32 by default.
            verbose: 0 silent, 1 or "auto" progress bar, 2 one line.
            steps: batches to predict for; all by default.
            callbacks: callbacks, called in order.

        Returns:
            One array (N, ...), or a list or dict of them for a model with several outputs.

        Stateful layers continue from the final state of the last ``predict``, at first from zero; ``reset_states``
        zeroes it, and the next ``predict`` may then have another batch size. The state of training does not change.

        >>> import numpy as np
        >>> from seqcore import Sequential, layers
        >>> model = Sequential([layers.Input((5, 3)), layers.GRU(4)])
        >>> model.predict(np.zeros((7, 5, 3)), batch_size=2, verbose=0).shape
        (7, 4)
        """
        data = make_adapter(x, lengths=lengths, batch_size=batch_size, stateful=self._is_stateful(), steps=steps)
        callback_list = self._callback_list(callbacks, verbose, epochs=1, steps=data.steps)
        self.stop_predicting = False
        callback_list.on_predict_begin()
        outputs: list[Any] = []
        with self.predict_scope():
            for number, batch in enumerate(data):
                callback_list.on_predict_batch_begin(number)
                outputs.append(self._predict_batch(batch))
                callback_list.on_predict_batch_end(number, {"outputs": outputs[-1]})
                if self.stop_predicting:
                    break
        callback_list.on_predict_end()
        if not outputs:
            raise ValueError("x: expected at least one batch to predict for, got none")
        return concatenate(outputs)

    def _callback_list(
        self,
        callbacks: Any,
        verbose: int | str,
        *,
        epochs: int,
        steps: int | None,
        history: bool = False,
        is_main: bool = True,
    ) -> CallbackList:
        """The caller's callbacks, then a progress bar unless ``verbose`` is 0, and a history in ``fit``."""
        if is_array(verbose) or verbose not in (0, 1, 2, "auto"):
            raise ValueError(f"verbose: expected 0, 1, 2 or 'auto', got {verbose!r}")
        given = list(callbacks) if isinstance(callbacks, (list, tuple, CallbackList)) else [callbacks]
        listed = [callback for callback in given if callback is not None]
        if verbose and not any(isinstance(callback, ProgressBar) for callback in listed):
            listed.append(ProgressBar())
        if history:
            self.history = next((callback for callback in listed if isinstance(callback, History)), None) or History()
            if self.history not in listed:
                listed.append(self.history)
        level = 1 if verbose == "auto" else int(verbose)
        return CallbackList(listed, is_main=is_main, model=self, epochs=epochs, steps=steps, verbose=level)

    def _has_sparse_targets(self) -> bool | None:
        """True for targets that are class ids, False for one number per class, None where the loss does not decide."""
        if isinstance(self.loss, losses.SparseCategoricalCrossentropy):
            return True
        return False if isinstance(self.loss, losses.CategoricalCrossentropy) else None

    def _is_stateful(self) -> bool:
        return any(getattr(layer, "stateful", False) for layer in self.layers_inside())


def _validation_epochs(validation_freq: Any) -> Callable[[int], bool]:
    """Predicate of the epochs (from 1) that validation follows: every n-th epoch, or those of a list."""
    if isinstance(validation_freq, (list, tuple, set, range)):
        epochs = {integer("validation_freq", epoch, 1) for epoch in validation_freq}
        return epochs.__contains__
    period = integer("validation_freq", validation_freq, 1)
    return lambda epoch: epoch % period == 0
