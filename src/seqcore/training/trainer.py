"""Trainer: compile, fit, evaluate and predict, and their forms for one batch.

B: batch, T: time steps, N: rows of the whole data.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from .. import losses as _losses
from .. import metrics as _metrics
from .. import optimizers as _optimizers
from .._validation import at_least, boolean, default_only, is_array, real
from ..autograd.staleness import mark_stale
from ..autograd.tensor import Variable
from ..callbacks import CallbackList, History, ProgressBar
from ..layers.base import Layer
from ..optimizers.flat_parameters import FlatParameters
from .batch import Batch, make_batch, pack_batch
from .compiled_metrics import CompiledMetrics, compile_metrics
from .data_adapters import ArrayAdapter, DataAdapter, make_adapter, make_validation_adapter
from .fit_state import FitState
from .step_hooks import StepHooks
from .train_step import TrainStep

# Attributes of a model that change its steps: hooks set on the object itself, and the loss.
_HOOKS = frozenset(
    "train_step test_step predict_step compute_loss compute_metrics get_metrics_result reset_metrics loss".split()
)


class Trainer(StepHooks):
    """A layer that can be compiled and trained; the base of ``Model``."""

    def __init__(self, *, name: str | None, trainable: bool, dtype: DTypeLike | None, **unknown: Any) -> None:
        super().__init__(name=name, trainable=trainable, dtype=dtype, **unknown)
        self._compiled_metrics = CompiledMetrics()
        self.optimizer: _optimizers.Optimizer | None = None
        self.loss: _losses.Loss | None = None
        self.stop_training = self.stop_evaluating = self.stop_predicting = False
        self.history: History | None = None
        # The state of a running ``fit``, for callbacks that save and resume it.
        self.fit_state: FitState | None = None

    def __setattr__(self, key: str, value: Any) -> None:
        object.__setattr__(self, key, value)
        if key not in self._not_tracked:
            if isinstance(value, (Layer, Variable, list, tuple, dict, _metrics.Metric)) or key in _HOOKS:
                mark_stale(self)

    def layer_chain(self) -> list[Layer]:
        """The layers in order, where calling the model means calling them one after the other; an empty list
        otherwise."""
        return []

    # ------------------------------------------------------------ compiling

    def compile(
        self,
        optimizer: Any = "rmsprop",
        loss: Any = None,
        loss_weights: None = None,
        metrics: Any = None,
        weighted_metrics: Any = None,
        run_eagerly: bool = False,
        steps_per_execution: int = 1,
        jit_compile: bool | str = "auto",
        auto_scale_loss: bool = True,
    ) -> None:
        """Set the optimizer, the loss and the metrics of training.

        Args:
            optimizer: an ``Optimizer`` or its name.
            loss: a ``Loss``, its name or a function of (y_true, y_pred).
            metrics: metrics or names ("accuracy", ...); they do not see sample weights, but masks and lengths count.
            weighted_metrics: metrics that do.
            run_eagerly: everything runs eagerly, asked for or not.
            loss_weights, steps_per_execution, jit_compile, auto_scale_loss: accepted only at Keras's defaults.

        Raises:
            ValueError, TypeError: naming the argument; the model stays compiled as it was.

        >>> from seqcore import Sequential, layers
        >>> model = Sequential([layers.Input((3,)), layers.Dense(2)])
        >>> model.compile("adam", "mse", metrics=["mae"])
        >>> model.metrics_names
        ['loss', 'mae']
        """
        default_only("loss_weights", loss_weights, None, "a model has one loss; metrics come by name, metrics=[...]")
        default_only("run_eagerly", run_eagerly, (False, True), "everything runs eagerly")
        default_only("steps_per_execution", steps_per_execution, 1, "each step is one call")
        default_only("jit_compile", jit_compile, ("auto", False), "nothing is compiled")
        default_only(
            "auto_scale_loss", auto_scale_loss, (True, False), "float32, float64 and bfloat16 need no scaled loss"
        )
        new_optimizer = _optimizers.get(optimizer)
        new_loss = None if loss is None else _losses.get(loss)
        new_metrics = compile_metrics(metrics, weighted_metrics, new_loss)
        self.optimizer, self.loss, self._compiled_metrics = new_optimizer, new_loss, new_metrics
        self._step = TrainStep(self, self._compiled_metrics)

    @property
    def metrics_names(self) -> list[str]:
        """Names of what ``evaluate`` and ``train_on_batch`` return, in order."""
        if type(self).metrics is not StepHooks.metrics:
            return [metric.name for metric in self.metrics]
        return ["loss", *self._compiled_metrics.names, *(metric.name for metric in self._attribute_metrics())]

    @property
    def flat_parameters(self) -> FlatParameters:
        """The flat arrays of parameters and gradients of the compiled, built model."""
        step = self.require_compiled()
        if not self.built:
            raise ValueError(f"flat_parameters: expected a built model; call {self.name!r} or build it")
        step.stale = True
        return step.flat_parameters()

    # The name in version 0.1.
    arena = flat_parameters

    def _runner(self, hook: str) -> Callable[[Batch], dict[str, float] | None]:
        """The function for one batch: the step itself, or an override of ``train_step`` or ``test_step``."""
        step = self.require_compiled(hook)
        if self.overrides(hook):
            return partial(self._run_step, hook)
        return step.train if hook == "train_step" else step.test

    def prepare_training(self) -> None:
        """Lay out the flat parameters and register the variables with the optimizer, as the first step would."""
        if self._step is not None and self.optimizer is not None:
            self._step.stale = True
            self.optimizer.build(self._step.flat_parameters().variables)

    def get_compile_config(self) -> Any:
        """Optimizer, loss and metrics, or None (with a warning if they cannot be serialized)."""
        if self.optimizer is None:
            return None
        if type(self).compile is not Trainer.compile:
            warnings.warn(
                "save: optimizer, loss and metrics are left out, since the class overrides compile; give it "
                "get_compile_config and compile_from_config too",
                stacklevel=2,
            )
            return None
        try:
            config: dict[str, Any] = {
                "optimizer": _optimizers.serialize(self.optimizer),
                "loss": None if self.loss is None else _losses.serialize(self.loss),
                "metrics": [],
                "weighted_metrics": [],
            }
            for metric, weighted in self._compiled_metrics.metrics:
                config["weighted_metrics" if weighted else "metrics"].append(_metrics.serialize(metric))
            return config
        except (TypeError, ValueError) as error:
            warnings.warn(f"save: optimizer, loss and metrics are left out: {error}", stacklevel=2)
            return None

    def compile_from_config(self, config: Any) -> None:
        """Compile with the config of :meth:`get_compile_config`; None leaves the model as it is."""
        if config is not None:
            names = ("optimizer", "loss", "metrics", "weighted_metrics")
            self.compile(**{name: config[name] for name in names})

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
            x: (B, ...) inputs, or a list of arrays for a model with several.
            y: (B, ...) targets.
            sample_weight: (B,) or (B, T).
            class_weight: class -> weight.
            return_dict: return {"loss": ..., metric: ...}.
            lengths: (B,) valid steps of each row of x.

        Returns:
            The loss of the batch before the update, a list with the metrics if there are any, or a dict.

        Raises:
            ValueError, TypeError: naming the argument; weights and states are then unchanged.
        """
        return_dict = boolean("return_dict", return_dict)
        run = self._runner("train_step")
        self._reset_metrics()
        sparse = None if class_weight is None else self._has_sparse_targets()
        logs = run(make_batch(x, y, sample_weight, class_weight, lengths, sparse))
        return self._results(logs, return_dict)

    def test_on_batch(
        self, x: Any, y: Any = None, sample_weight: Any = None, return_dict: bool = False, *, lengths: Any = None
    ) -> Any:
        """Loss and metrics of one batch, as :meth:`train_on_batch` returns them, without an update.

        Stateful layers continue from their state, as in a plain call.
        """
        return_dict = boolean("return_dict", return_dict)
        run = self._runner("test_step")
        self._reset_metrics()
        return self._results(run(make_batch(x, y, sample_weight, None, lengths)), return_dict)

    def predict_on_batch(self, x: Any, *, lengths: Any = None) -> Any:
        """Output of one batch as an array. Stateful layers continue from their state, as in a plain call."""
        return self._predict_batch(make_batch(x, lengths=lengths))

    def _predict_batch(self, batch: Batch) -> Any:
        """Output of one batch as arrays."""
        hook = self.overrides("predict_step")
        return _to_arrays(self.predict_step(pack_batch(batch)) if hook else self(batch.x, training=False))

    def _results(self, returned: dict[str, float] | None, return_dict: bool) -> Any:
        """The logs of the metrics or of a hook, or their values: known names in order, then others by name."""
        logs = self._logs(returned)
        if return_dict:
            return logs
        values = list(logs.values())
        if returned is not None or not self._has_plain_logs():
            known = [name for name in self.metrics_names if name in logs]
            values = [logs[name] for name in [*known, *sorted(set(logs) - set(known))]]
        return values[0] if len(values) == 1 else values

    # ------------------------------------------------------------ loops

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
    ) -> History:
        """Train for ``epochs - initial_epoch`` epochs.

        Args:
            x: (N, ...) array or Tensor, also of another library, a list of arrays for a model with several inputs, or
                batches x, (x, y) or (x, y, sample_weight): an iterable such as a list of tuples or a ``DataLoader``, a
                generator, or an object with ``__getitem__`` such as Keras's ``PyDataset``. A Tensor may carry
                ``lengths`` or ``mask``.
            y: (N, ...) targets.
            batch_size: rows of a batch, 32 by default.
            verbose: 0 silent, 1 progress bar, 2 one line per epoch, "auto" by the kind of output.
            callbacks: callbacks, called in order.
            validation_split: this share of the last rows is held back for validation.
            validation_data: (x, y), (x, y, sample_weight) or batches.
            shuffle: a new order each epoch, from the seeded global generator: of the rows of arrays, of the batches of
                an object with ``__getitem__``; what is iterated keeps its order, and so do stateful models.
            class_weight: class -> weight; targets are class ids, also one per step, or one-hot.
            sample_weight: (N,) or (N, T).
            initial_epoch: number of the first epoch, for resumed runs.
            steps_per_epoch: batches per epoch; the next epoch continues after them. Where the data end within an epoch
                it is shorter, with a warning, and the next one starts again.
            validation_steps, validation_batch_size: the same for validation, which always starts with the first batch.
            validation_freq: after how many epochs validation takes place, or a list of epochs counted from 1.
            lengths: (N,) valid steps of each row of x.

        Returns:
            The ``History``: its ``history`` has a list per epoch for each name in the logs.

        Stateful layers carry their state from batch to batch and from epoch to epoch (``reset_states`` in a callback
        zeroes it); their rows must divide into whole batches. Ctrl-C leaves the model as the last whole batch left it.

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
        epochs, initial_epoch = at_least("epochs", epochs, 0), at_least("initial_epoch", initial_epoch, 0)
        validation_epochs = _validation_epochs(validation_freq)
        shuffle = boolean("shuffle", shuffle)
        stateful = self._is_stateful()
        if validation_split is not None and real("validation_split", validation_split, 0.0, 1.0, open_high=True):
            if validation_data is not None:
                raise ValueError("validation_split: expected 0 where validation_data is given")
            whole = make_adapter(x, y, sample_weight, lengths=lengths, batch_size=batch_size)
            if not isinstance(whole, ArrayAdapter):
                raise ValueError("validation_split: expected 0 where x yields whole batches; pass validation_data")
            (x, y, sample_weight), validation_data = whole.split(validation_split)
            lengths = None
        validation: DataAdapter | None = None
        if validation_data is not None:
            self.require_compiled("test_step")
            needs_targets = not (self.overrides("test_step") or self.overrides("compute_loss"))
            validation = make_validation_adapter(
                validation_data, validation_steps, validation_batch_size, batch_size, stateful, needs_targets
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
        return self._fit(step, data, validation, epochs, initial_epoch, validation_epochs, verbose, callbacks)

    def _fit(
        self,
        step: TrainStep,
        data: DataAdapter,
        validation: DataAdapter | None,
        epochs: int,
        initial_epoch: int,
        validation_epochs: Callable[[int], bool],
        verbose: int | str,
        callbacks: Any,
    ) -> History:
        callback_list = self._callback_list(callbacks, verbose, epochs=epochs, steps=data.steps, history=True)
        self.stop_training = False
        # Changes inside a list or a plain layer are not noticed.
        step.stale = True
        state = self.fit_state = FitState(self, data, validation, callback_list, initial_epoch)
        try:
            callback_list.on_train_begin()
            logs: dict[str, float] = {}
            while state.epoch < epochs and (state.batch or not (state.stopped or data.exhausted)):
                trained = self._fit_epoch(state, validation_epochs)
                if trained is None:
                    break
                logs = trained
                state.next_epoch()
            callback_list.on_train_end(logs)
        finally:
            self.fit_state = None
        assert self.history is not None
        return self.history

    def _fit_epoch(self, state: FitState, validation_epochs: Callable[[int], bool]) -> dict[str, float] | None:
        """Train for one epoch, or for the rest of one; its logs, or None where the data had ended before it."""
        epoch, callbacks, run = state.epoch, state.callbacks, self._runner("train_step")
        callbacks.on_epoch_begin(epoch)
        if not state.batch:
            self._reset_metrics()
        for number, batch in enumerate(() if state.stopped else state.data, state.batch):
            callbacks.on_train_batch_begin(number)
            state.count_batch(run(batch))
            if callbacks.has("on_train_batch_end"):
                callbacks.on_train_batch_end(number, dict(self._logs(state.logs)))
            if self.stop_training:
                break
        if not state.batch:
            if state.data.exhausted and epoch > state.initial_epoch:
                return None
            raise ValueError("x: expected at least one batch per epoch, got none")
        state.logs = dict(self._logs(state.logs))
        logs = dict(state.logs)
        validation = state.validation
        if validation is not None and validation_epochs(epoch + 1) and not validation.exhausted:
            validated = self._evaluate(validation, callbacks)
            logs.update((f"val_{name}", value) for name, value in validated.items())
        callbacks.on_epoch_end(epoch, logs)
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
            x, y, sample_weight, lengths=lengths, batch_size=batch_size, stateful=self._is_stateful(), steps=steps
        )
        callback_list = self._callback_list(callbacks, verbose, epochs=1, steps=data.steps)
        logs = self._evaluate(data, callback_list)
        if not logs and data.exhausted:
            raise ValueError("x: expected at least one batch to evaluate on, got none")
        return self._results(logs, return_dict)

    def _evaluate(self, data: DataAdapter, callback_list: CallbackList) -> dict[str, float]:
        run = self._runner("test_step")
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
            One array (N, ...), or a list of them for a model with several outputs.

        Stateful layers continue from the final state of the last ``predict``, at first from zero; ``reset_states``
        zeroes it, and the next ``predict`` may then have another batch size. The state of training does not change.

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
        return _concatenate(outputs)

    def _callback_list(
        self, callbacks: Any, verbose: int | str, *, epochs: int, steps: int | None, history: bool = False
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
        return CallbackList(listed, model=self, epochs=epochs, steps=steps, verbose=level)

    def _has_sparse_targets(self) -> bool | None:
        """True for targets that are class ids, False for one number per class, None where the loss does not decide."""
        if isinstance(self.loss, _losses.SparseCategoricalCrossentropy):
            return True
        return False if isinstance(self.loss, _losses.CategoricalCrossentropy) else None

    def _is_stateful(self) -> bool:
        return any(getattr(layer, "stateful", False) for layer in self.layers_inside())


# ---------------------------------------------------------------- helpers


def _validation_epochs(validation_freq: Any) -> Callable[[int], bool]:
    """Predicate of the epochs (from 1) that validation follows: every n-th epoch, or those of a list."""
    if isinstance(validation_freq, (list, tuple, set, range)):
        epochs = {at_least("validation_freq", epoch, 1) for epoch in validation_freq}
        return epochs.__contains__
    period = at_least("validation_freq", validation_freq, 1)
    return lambda epoch: epoch % period == 0


def _to_arrays(outputs: Any) -> Any:
    """Tensors as arrays, in lists and dicts too."""
    if isinstance(outputs, (list, tuple)):
        return [_to_arrays(output) for output in outputs]
    if isinstance(outputs, dict):
        return {key: _to_arrays(output) for key, output in outputs.items()}
    if outputs is None:
        raise TypeError("model: expected call to return a Tensor, or several in a list or dict, got None")
    return np.ascontiguousarray(outputs)


def _concatenate(parts: list[Any]) -> Any:
    """Outputs of all batches, concatenated, in lists and dicts too."""
    if isinstance(parts[0], list):
        return [_concatenate([part[i] for part in parts]) for i in range(len(parts[0]))]
    if isinstance(parts[0], dict):
        return {key: _concatenate([part[key] for part in parts]) for key in parts[0]}
    if len({part.shape[1:] for part in parts}) > 1:
        shapes = sorted({part.shape[1:] for part in parts})
        raise ValueError(f"x: expected batches whose outputs can be joined, got rows {shapes[0]} and {shapes[-1]}")
    return parts[0] if len(parts) == 1 else np.concatenate(parts)
