"""Signatures of Keras 3.15 for what seqcore has too, and what becomes of each argument here: facts, no code.

An argument is supported unless DEFAULT_ONLY, NO_EFFECT, REFUSED or BY_POSITION names it: only by its name, or after the
name of its room, class or function. ``tests/interop/test_keras_signatures.py`` holds seqcore to this table, and the
table to Keras where that is installed.
"""

# One signature a line, longer ones indented. A method that all classes of a room share is listed at their base.
SIGNATURES = """
layers.Layer(*, activity_regularizer=None, trainable=True, dtype=None, autocast=True, name=None, **kwargs)
layers.Layer.add_weight(*args, shape=None, initializer=None, dtype=None, trainable=True, autocast=True,
    regularizer=None, constraint=None, aggregation='none', overwrite_with_gradient=False, name=None)
layers.Layer.build(input_shape)
layers.Layer.compute_mask(inputs, previous_mask)
layers.Layer.count_params()
layers.Layer.from_config(config)
layers.Layer.get_config()
layers.Layer.get_weights()
layers.Layer.set_weights(weights)
layers.Layer.call(inputs)
layers.Layer.compute_output_shape(input_shape)
layers.Activation(activation, **kwargs)
layers.AdditiveAttention(use_scale=True, dropout=0.0, **kwargs)
layers.AdditiveAttention.call(inputs, mask=None, training=False, return_attention_scores=False, use_causal_mask=False)
layers.AdditiveAttention.compute_mask(inputs, mask=None)
layers.Bidirectional(layer, merge_mode='concat', weights=None, backward_layer=None, **kwargs)
layers.Bidirectional.build(sequences_shape, initial_state_shape=None)
layers.Bidirectional.call(sequences, initial_state=None, mask=None, training=None)
layers.Bidirectional.compute_mask(_, mask)
layers.Bidirectional.compute_output_shape(sequences_shape, initial_state_shape=None)
layers.Bidirectional.from_config(config, custom_objects=None)
layers.Bidirectional.reset_state()
layers.Bidirectional.reset_states()
layers.Conv1D(filters, kernel_size, strides=1, padding='valid', data_format=None, dilation_rate=1, groups=1,
    activation=None, use_bias=True, kernel_initializer='glorot_uniform', bias_initializer='zeros',
    kernel_regularizer=None, bias_regularizer=None, activity_regularizer=None, kernel_constraint=None,
    bias_constraint=None, **kwargs)
layers.Conv1D.call(inputs)
layers.Dense(units, activation=None, use_bias=True, kernel_initializer='glorot_uniform', bias_initializer='zeros',
    kernel_regularizer=None, bias_regularizer=None, activity_regularizer=None, kernel_constraint=None,
    bias_constraint=None, lora_rank=None, lora_alpha=None, quantization_config=None, **kwargs)
layers.Dense.call(inputs, training=None)
layers.Dropout(rate, noise_shape=None, seed=None, **kwargs)
layers.Dropout.call(inputs, training=False)
layers.Embedding(input_dim, output_dim, embeddings_initializer='uniform', embeddings_regularizer=None,
    embeddings_constraint=None, mask_zero=False, weights=None, lora_rank=None, lora_alpha=None,
    quantization_config=None, **kwargs)
layers.Embedding.build(input_shape=None)
layers.Embedding.compute_mask(inputs, mask=None)
layers.Flatten(data_format=None, **kwargs)
layers.GRU(units, activation='tanh', recurrent_activation='sigmoid', use_bias=True,
    kernel_initializer='glorot_uniform', recurrent_initializer='orthogonal', bias_initializer='zeros',
    kernel_regularizer=None, recurrent_regularizer=None, bias_regularizer=None, activity_regularizer=None,
    kernel_constraint=None, recurrent_constraint=None, bias_constraint=None, dropout=0.0, recurrent_dropout=0.0,
    seed=None, return_sequences=False, return_state=False, go_backwards=False, stateful=False, unroll=False,
    reset_after=True, use_cudnn='auto', **kwargs)
layers.GRU.build(sequences_shape, initial_state_shape=None)
layers.GRU.call(sequences, initial_state=None, mask=None, training=False)
layers.GRU.compute_mask(_, mask)
layers.GRU.compute_output_shape(sequences_shape, initial_state_shape=None)
layers.GRU.get_initial_state(batch_size)
layers.GRU.reset_state()
layers.GRU.reset_states()
layers.GRUCell(units, activation='tanh', recurrent_activation='sigmoid', use_bias=True,
    kernel_initializer='glorot_uniform', recurrent_initializer='orthogonal', bias_initializer='zeros',
    kernel_regularizer=None, recurrent_regularizer=None, bias_regularizer=None, kernel_constraint=None,
    recurrent_constraint=None, bias_constraint=None, dropout=0.0, recurrent_dropout=0.0, reset_after=True, seed=None,
    **kwargs)
layers.GRUCell.call(inputs, states, training=False)
layers.GRUCell.get_initial_state(batch_size=None)
layers.GRUCell.reset_dropout_mask()
layers.GRUCell.reset_recurrent_dropout_mask()
layers.GlobalAveragePooling1D(data_format=None, keepdims=False, **kwargs)
layers.GlobalAveragePooling1D.call(inputs, mask=None)
layers.GlobalAveragePooling1D.compute_mask(inputs, mask=None)
layers.GlobalMaxPooling1D(data_format=None, keepdims=False, **kwargs)
layers.Masking(mask_value=0.0, **kwargs)
layers.Masking.call(inputs)
layers.Masking.compute_mask(inputs, mask=None)
layers.Input(shape=None, batch_size=None, dtype=None, sparse=None, ragged=None, batch_shape=None, name=None,
    tensor=None, optional=False)
layers.InputLayer(shape=None, batch_size=None, dtype=None, sparse=None, ragged=None, batch_shape=None,
    input_tensor=None, optional=False, name=None, **kwargs)
layers.LSTM(units, activation='tanh', recurrent_activation='sigmoid', use_bias=True,
    kernel_initializer='glorot_uniform', recurrent_initializer='orthogonal', bias_initializer='zeros',
    unit_forget_bias=True, kernel_regularizer=None, recurrent_regularizer=None, bias_regularizer=None,
    activity_regularizer=None, kernel_constraint=None, recurrent_constraint=None, bias_constraint=None, dropout=0.0,
    recurrent_dropout=0.0, seed=None, return_sequences=False, return_state=False, go_backwards=False, stateful=False,
    unroll=False, use_cudnn='auto', **kwargs)
layers.LSTM.build(sequences_shape, initial_state_shape=None)
layers.LSTM.call(sequences, initial_state=None, mask=None, training=False)
layers.LSTM.compute_mask(_, mask)
layers.LSTM.compute_output_shape(sequences_shape, initial_state_shape=None)
layers.LSTM.get_initial_state(batch_size)
layers.LSTM.reset_state()
layers.LSTM.reset_states()
layers.LSTMCell(units, activation='tanh', recurrent_activation='sigmoid', use_bias=True,
    kernel_initializer='glorot_uniform', recurrent_initializer='orthogonal', bias_initializer='zeros',
    unit_forget_bias=True, kernel_regularizer=None, recurrent_regularizer=None, bias_regularizer=None,
    kernel_constraint=None, recurrent_constraint=None, bias_constraint=None, dropout=0.0, recurrent_dropout=0.0,
    seed=None, **kwargs)
layers.LSTMCell.call(inputs, states, training=False)
layers.LSTMCell.get_initial_state(batch_size=None)
layers.LSTMCell.reset_dropout_mask()
layers.LSTMCell.reset_recurrent_dropout_mask()
layers.LayerNormalization(axis=-1, epsilon=0.001, center=True, scale=True, beta_initializer='zeros',
    gamma_initializer='ones', beta_regularizer=None, gamma_regularizer=None, beta_constraint=None,
    gamma_constraint=None, **kwargs)
layers.LayerNormalization.call(inputs)
layers.ReLU(max_value=None, negative_slope=0.0, threshold=0.0, **kwargs)
layers.SimpleRNN(units, activation='tanh', use_bias=True, kernel_initializer='glorot_uniform',
    recurrent_initializer='orthogonal', bias_initializer='zeros', kernel_regularizer=None, recurrent_regularizer=None,
    bias_regularizer=None, activity_regularizer=None, kernel_constraint=None, recurrent_constraint=None,
    bias_constraint=None, dropout=0.0, recurrent_dropout=0.0, return_sequences=False, return_state=False,
    go_backwards=False, stateful=False, unroll=False, seed=None, **kwargs)
layers.SimpleRNN.build(sequences_shape, initial_state_shape=None)
layers.SimpleRNN.call(sequences, initial_state=None, mask=None, training=False)
layers.SimpleRNN.compute_mask(_, mask)
layers.SimpleRNN.compute_output_shape(sequences_shape, initial_state_shape=None)
layers.SimpleRNN.get_initial_state(batch_size)
layers.SimpleRNN.reset_state()
layers.SimpleRNN.reset_states()
layers.SimpleRNNCell(units, activation='tanh', use_bias=True, kernel_initializer='glorot_uniform',
    recurrent_initializer='orthogonal', bias_initializer='zeros', kernel_regularizer=None, recurrent_regularizer=None,
    bias_regularizer=None, kernel_constraint=None, recurrent_constraint=None, bias_constraint=None, dropout=0.0,
    recurrent_dropout=0.0, seed=None, **kwargs)
layers.SimpleRNNCell.call(sequence, states, training=False)
layers.SimpleRNNCell.get_initial_state(batch_size=None)
layers.SimpleRNNCell.reset_dropout_mask()
layers.SimpleRNNCell.reset_recurrent_dropout_mask()
layers.Softmax(axis=-1, **kwargs)
layers.Softmax.call(inputs, mask=None)
layers.TimeDistributed(layer, **kwargs)
layers.TimeDistributed.call(inputs, training=None, mask=None)
layers.TimeDistributed.from_config(config, custom_objects=None)
layers.TextVectorization(max_tokens=None, standardize='lower_and_strip_punctuation', split='whitespace', ngrams=None,
    output_mode='int', output_sequence_length=None, pad_to_max_tokens=False, vocabulary=None, idf_weights=None,
    sparse=False, ragged=False, encoding='utf-8', name=None, **kwargs)
layers.TextVectorization.adapt(data, batch_size=None, steps=None)
layers.TextVectorization.get_vocabulary(include_special_tokens=True)
layers.TextVectorization.set_vocabulary(vocabulary, idf_weights=None)
layers.TextVectorization.vocabulary_size()

models.Model(*args, **kwargs)
models.Model.compile(optimizer='rmsprop', loss=None, loss_weights=None, metrics=None, weighted_metrics=None,
    run_eagerly=False, steps_per_execution=1, jit_compile='auto', auto_scale_loss=True)
models.Model.compile_from_config(config)
models.Model.compute_loss(x=None, y=None, y_pred=None, sample_weight=None, training=True)
models.Model.compute_metrics(x, y, y_pred, sample_weight=None)
models.Model.get_compile_config()
models.Model.get_metrics_result()
models.Model.predict_step(data)
models.Model.reset_metrics()
models.Model.test_step(data)
models.Model.train_step(data)
models.Model.evaluate(x=None, y=None, batch_size=None, verbose='auto', sample_weight=None, steps=None, callbacks=None,
    return_dict=False, **kwargs)
models.Model.fit(x=None, y=None, batch_size=None, epochs=1, verbose='auto', callbacks=None, validation_split=0.0,
    validation_data=None, shuffle=True, class_weight=None, sample_weight=None, initial_epoch=0, steps_per_epoch=None,
    validation_steps=None, validation_batch_size=None, validation_freq=1)
models.Model.from_config(config, custom_objects=None)
models.Model.get_layer(name=None, index=None)
models.Model.load_weights(filepath, skip_mismatch=False, **kwargs)
models.Model.predict(x, batch_size=None, verbose='auto', steps=None, callbacks=None)
models.Model.predict_on_batch(x)
models.Model.save(filepath, overwrite=True, zipped=None, **kwargs)
models.Model.save_weights(filepath, overwrite=True, max_shard_size=None)
models.Model.summary(line_length=None, positions=None, print_fn=None, expand_nested=False, show_trainable=False,
    layer_range=None)
models.Model.test_on_batch(x, y=None, sample_weight=None, return_dict=False)
models.Model.train_on_batch(x, y=None, sample_weight=None, class_weight=None, return_dict=False)
models.Sequential(layers=None, trainable=True, name=None)
models.Sequential.add(layer, rebuild=True)
models.Sequential.build(input_shape=None)
models.Sequential.call(inputs, training=None, mask=None, **kwargs)
models.Sequential.pop(rebuild=True)
models.load_model(filepath, custom_objects=None, compile=True, safe_mode=True)

losses.Loss(name=None, reduction='sum_over_batch_size', dtype=None)
losses.Loss.__call__(y_true, y_pred, sample_weight=None)
losses.Loss.call(y_true, y_pred)
losses.Loss.from_config(config)
losses.Loss.get_config()
losses.BinaryCrossentropy(from_logits=False, label_smoothing=0.0, axis=-1, reduction='sum_over_batch_size',
    name='binary_crossentropy', dtype=None)
losses.CategoricalCrossentropy(from_logits=False, label_smoothing=0.0, axis=-1, reduction='sum_over_batch_size',
    name='categorical_crossentropy', dtype=None)
losses.MeanSquaredError(reduction='sum_over_batch_size', name='mean_squared_error', dtype=None)
losses.SparseCategoricalCrossentropy(from_logits=False, ignore_class=None, reduction='sum_over_batch_size', axis=-1,
    name='sparse_categorical_crossentropy', dtype=None)
losses.binary_crossentropy(y_true, y_pred, from_logits=False, label_smoothing=0.0, axis=-1)
losses.categorical_crossentropy(y_true, y_pred, from_logits=False, label_smoothing=0.0, axis=-1)
losses.deserialize(name, custom_objects=None)
losses.get(identifier)
losses.mean_squared_error(y_true, y_pred)
losses.serialize(loss)
losses.sparse_categorical_crossentropy(y_true, y_pred, from_logits=False, ignore_class=None, axis=-1)

metrics.Metric(dtype=None, name=None)
metrics.Metric.add_variable(shape, initializer, dtype=None, aggregation='sum', name=None)
metrics.Metric.add_weight(shape=(), initializer=None, dtype=None, name=None)
metrics.Metric.from_config(config)
metrics.Metric.get_config()
metrics.Metric.reset_state()
metrics.Metric.result()
metrics.Metric.update_state(y_true, y_pred, sample_weight=None)
metrics.Accuracy(name='accuracy', dtype=None)
metrics.BinaryAccuracy(name='binary_accuracy', dtype=None, threshold=0.5)
metrics.BinaryCrossentropy(name='binary_crossentropy', dtype=None, from_logits=False, label_smoothing=0)
metrics.CategoricalAccuracy(name='categorical_accuracy', dtype=None)
metrics.CategoricalCrossentropy(name='categorical_crossentropy', dtype=None, from_logits=False, label_smoothing=0,
    axis=-1)
metrics.Mean(name='mean', dtype=None)
metrics.Mean.update_state(values, sample_weight=None)
metrics.MeanAbsoluteError(name='mean_absolute_error', dtype=None)
metrics.MeanMetricWrapper(fn, name=None, dtype=None, **kwargs)
metrics.MeanSquaredError(name='mean_squared_error', dtype=None)
metrics.RootMeanSquaredError(name='root_mean_squared_error', dtype=None)
metrics.SparseCategoricalAccuracy(name='sparse_categorical_accuracy', dtype=None)
metrics.SparseCategoricalCrossentropy(name='sparse_categorical_crossentropy', dtype=None, from_logits=False,
    ignore_class=None, axis=-1)
metrics.SparseTopKCategoricalAccuracy(k=5, name='sparse_top_k_categorical_accuracy', dtype=None,
    from_sorted_ids=False)
metrics.TopKCategoricalAccuracy(k=5, name='top_k_categorical_accuracy', dtype=None)
metrics.deserialize(config, custom_objects=None)
metrics.get(identifier)
metrics.serialize(metric)

optimizers.Optimizer(learning_rate, weight_decay=None, clipnorm=None, clipvalue=None, global_clipnorm=None,
    use_ema=False, ema_momentum=0.99, ema_overwrite_frequency=None, loss_scale_factor=None,
    gradient_accumulation_steps=None, name=None, **kwargs)
optimizers.Optimizer.apply(grads, trainable_variables=None)
optimizers.Optimizer.apply_gradients(grads_and_vars)
optimizers.Optimizer.build(variables)
optimizers.Optimizer.from_config(config, custom_objects=None)
optimizers.Optimizer.get_config()
optimizers.Adagrad(learning_rate=0.001, initial_accumulator_value=0.1, epsilon=1e-07, weight_decay=None,
    clipnorm=None, clipvalue=None, global_clipnorm=None, use_ema=False, ema_momentum=0.99,
    ema_overwrite_frequency=None, loss_scale_factor=None, gradient_accumulation_steps=None, name=None, **kwargs)
optimizers.Adagrad.build(var_list)
optimizers.Adam(learning_rate=0.001, beta_1=0.9, beta_2=0.999, epsilon=1e-07, amsgrad=False, weight_decay=None,
    clipnorm=None, clipvalue=None, global_clipnorm=None, use_ema=False, ema_momentum=0.99,
    ema_overwrite_frequency=None, loss_scale_factor=None, gradient_accumulation_steps=None, name=None, **kwargs)
optimizers.Adam.build(var_list)
optimizers.RMSprop(learning_rate=0.001, rho=0.9, momentum=0.0, epsilon=1e-07, centered=False, weight_decay=None,
    clipnorm=None, clipvalue=None, global_clipnorm=None, use_ema=False, ema_momentum=0.99,
    ema_overwrite_frequency=None, loss_scale_factor=None, gradient_accumulation_steps=None, name=None, **kwargs)
optimizers.RMSprop.build(var_list)
optimizers.SGD(learning_rate=0.01, momentum=0.0, nesterov=False, weight_decay=None, clipnorm=None, clipvalue=None,
    global_clipnorm=None, use_ema=False, ema_momentum=0.99, ema_overwrite_frequency=None, loss_scale_factor=None,
    gradient_accumulation_steps=None, name=None, **kwargs)
optimizers.deserialize(config, custom_objects=None)
optimizers.get(identifier)
optimizers.serialize(optimizer)
optimizers.schedules.CosineDecay(initial_learning_rate, decay_steps, alpha=0.0, name='CosineDecay',
    warmup_target=None, warmup_steps=0)
optimizers.schedules.ExponentialDecay(initial_learning_rate, decay_steps, decay_rate, staircase=False,
    name='ExponentialDecay')
optimizers.schedules.InverseTimeDecay(initial_learning_rate, decay_steps, decay_rate, staircase=False,
    name='InverseTimeDecay')
optimizers.schedules.LearningRateSchedule()
optimizers.schedules.LearningRateSchedule.__call__(step)
optimizers.schedules.LearningRateSchedule.from_config(config)
optimizers.schedules.LearningRateSchedule.get_config()
optimizers.schedules.PiecewiseConstantDecay(boundaries, values, name='PiecewiseConstant')
optimizers.schedules.PolynomialDecay(initial_learning_rate, decay_steps, end_learning_rate=0.0001, power=1.0,
    cycle=False, name='PolynomialDecay')
optimizers.schedules.deserialize(config, custom_objects=None)
optimizers.schedules.serialize(learning_rate_schedule)

callbacks.Callback()
callbacks.Callback.set_model(model)
callbacks.Callback.set_params(params)
callbacks.Callback.on_batch_begin(batch, logs=None)
callbacks.Callback.on_batch_end(batch, logs=None)
callbacks.Callback.on_epoch_begin(epoch, logs=None)
callbacks.Callback.on_epoch_end(epoch, logs=None)
callbacks.Callback.on_predict_batch_begin(batch, logs=None)
callbacks.Callback.on_predict_batch_end(batch, logs=None)
callbacks.Callback.on_predict_begin(logs=None)
callbacks.Callback.on_predict_end(logs=None)
callbacks.Callback.on_test_batch_begin(batch, logs=None)
callbacks.Callback.on_test_batch_end(batch, logs=None)
callbacks.Callback.on_test_begin(logs=None)
callbacks.Callback.on_test_end(logs=None)
callbacks.Callback.on_train_batch_begin(batch, logs=None)
callbacks.Callback.on_train_batch_end(batch, logs=None)
callbacks.Callback.on_train_begin(logs=None)
callbacks.Callback.on_train_end(logs=None)
callbacks.BackupAndRestore(backup_dir, save_freq='epoch', double_checkpoint=False, delete_checkpoint=True)
callbacks.CSVLogger(filename, separator=',', append=False)
callbacks.CallbackList(callbacks=None, add_history=False, add_progbar=False, model=None, **params)
callbacks.EarlyStopping(monitor='val_loss', min_delta=0, patience=0, verbose=0, mode='auto', baseline=None,
    restore_best_weights=False, start_from_epoch=0)
callbacks.History()
callbacks.LearningRateScheduler(schedule, verbose=0)
callbacks.ModelCheckpoint(filepath, monitor='val_loss', verbose=0, save_best_only=False, save_weights_only=False,
    mode='auto', save_freq='epoch', initial_value_threshold=None)
callbacks.ReduceLROnPlateau(monitor='val_loss', factor=0.1, patience=10, verbose=0, mode='auto', min_delta=0.0001,
    cooldown=0, min_lr=0.0, **kwargs)
callbacks.TensorBoard(log_dir='logs', histogram_freq=0, write_graph=True, write_images=False,
    write_steps_per_second=False, update_freq='epoch', profile_batch=0, embeddings_freq=0, embeddings_metadata=None)

initializers.Initializer()
initializers.Initializer.__call__(shape, dtype=None)
initializers.Initializer.from_config(config)
initializers.Initializer.get_config()
initializers.Constant(value=0.0)
initializers.GlorotNormal(seed=None, input_axes=None, output_axes=None)
initializers.GlorotUniform(seed=None, input_axes=None, output_axes=None)
initializers.HeNormal(seed=None, input_axes=None, output_axes=None)
initializers.HeUniform(seed=None, input_axes=None, output_axes=None)
initializers.Identity(gain=1.0)
initializers.LecunNormal(seed=None, input_axes=None, output_axes=None)
initializers.LecunUniform(seed=None, input_axes=None, output_axes=None)
initializers.Ones()
initializers.Orthogonal(gain=1.0, seed=None)
initializers.RandomNormal(mean=0.0, stddev=0.05, seed=None)
initializers.RandomUniform(minval=-0.05, maxval=0.05, seed=None)
initializers.TruncatedNormal(mean=0.0, stddev=0.05, seed=None)
initializers.VarianceScaling(scale=1.0, mode='fan_in', distribution='truncated_normal', seed=None, input_axes=None,
    output_axes=None)
initializers.Zeros()
initializers.get(identifier)
initializers.serialize(initializer)

config.dtype_policy()
config.floatx()
config.set_dtype_policy(policy)
config.set_floatx(value)

utils.pad_sequences(sequences, maxlen=None, dtype='int32', padding='pre', truncating='pre', value=0.0)
utils.to_categorical(x, num_classes=None)

ops.abs(x)
ops.add(x1, x2)
ops.argmax(x, axis=None, keepdims=False)
ops.cast(x, dtype)
ops.clip(x, x_min, x_max)
ops.divide(x1, x2)
ops.elu(x, alpha=1.0)
ops.equal(x1, x2)
ops.exp(x)
ops.expand_dims(x, axis)
ops.gelu(x, approximate=True)
ops.greater(x1, x2)
ops.greater_equal(x1, x2)
ops.hard_sigmoid(x)
ops.leaky_relu(x, negative_slope=0.2)
ops.less(x1, x2)
ops.less_equal(x1, x2)
ops.log(x)
ops.log_softmax(x, axis=-1)
ops.matmul(x1, x2)
ops.maximum(x1, x2)
ops.minimum(x1, x2)
ops.multiply(x1, x2)
ops.negative(x)
ops.not_equal(x1, x2)
ops.ones(shape, dtype=None)
ops.ones_like(x, dtype=None)
ops.power(x1, x2)
ops.relu(x)
ops.reshape(x, newshape)
ops.sigmoid(x)
ops.silu(x)
ops.softmax(x, axis=-1)
ops.softplus(x)
ops.sqrt(x)
ops.square(x)
ops.squeeze(x, axis=None)
ops.stack(x, axis=0)
ops.subtract(x1, x2)
ops.tanh(x)
ops.transpose(x, axes=None)
ops.unstack(x, num=None, axis=0)
ops.where(condition, x1=None, x2=None)
ops.zeros(shape, dtype=None)
ops.zeros_like(x, dtype=None)
"""

# The arguments in **kwargs: those of the classes above, and of Keras 2 where Keras 3 still takes them.
LAYER = (
    "activity_regularizer=None, trainable=True, dtype=None, autocast=True, name=None, input_dim=None, input_shape=None"
)
KEYWORDS = {
    "layers": LAYER,
    "layers.AdditiveAttention": f"seed=None, {LAYER}",
    "layers.Embedding": f"input_length=None, {LAYER.replace('input_dim=None, ', '')}",
    "layers.GRU": f"implementation=2, zero_output_for_mask=False, {LAYER}",
    "layers.GRUCell": f"implementation=2, {LAYER}",
    "layers.InputLayer": "",
    "layers.LSTM": f"implementation=2, zero_output_for_mask=False, {LAYER}",
    "layers.LSTMCell": f"implementation=2, {LAYER}",
    "layers.SimpleRNN": f"zero_output_for_mask=False, {LAYER}",
    "layers.TextVectorization": "",
    "models.Model": "inputs=None, outputs=None, trainable=True, dtype=None, autocast=True, name=None",
}

# TensorFlow's, from its documentation.
TENSORFLOW = """
GradientTape(persistent=False, watch_accessed_variables=True)
GradientTape.watch(tensor)
GradientTape.gradient(target, sources, output_gradients=None, unconnected_gradients='none')
Variable.assign(value)
Variable.assign_add(delta)
Variable.assign_sub(delta)
clip_by_global_norm(t_list, clip_norm, use_norm=None, name=None)
clip_by_norm(t, clip_norm, axes=None, name=None)
clip_by_value(t, clip_value_min, clip_value_max, name=None)
global_norm(t_list, name=None)
nce_loss(weights, biases, labels, inputs, num_sampled, num_classes, num_true=1, sampled_values=None,
    remove_accidental_hits=False, name='nce_loss')
sampled_softmax_loss(weights, biases, labels, inputs, num_sampled, num_classes, num_true=1, sampled_values=None,
    remove_accidental_hits=True, seed=None, name='sampled_softmax_loss')
sampling.fixed_unigram_candidate_sampler(true_classes, num_true, num_sampled, unique, range_max, vocab_file='',
    distortion=1.0, num_reserved_ids=0, num_shards=1, shard=0, unigrams=(), seed=None, name=None)
sampling.log_uniform_candidate_sampler(true_classes, num_true, num_sampled, unique, range_max, seed=None, name=None)
sampling.uniform_candidate_sampler(true_classes, num_true, num_sampled, unique, range_max, seed=None, name=None)
sampling.compute_accidental_hits(true_classes, sampled_candidates, num_true, seed=None, name=None)
"""

# Accepted only at the default, and why; the message says so.
_REGULARIZERS = "regularizers and constraints are not supported"
DEFAULT_ONLY = {
    "activity_regularizer": _REGULARIZERS,
    "beta_constraint": _REGULARIZERS,
    "beta_regularizer": _REGULARIZERS,
    "bias_constraint": _REGULARIZERS,
    "bias_regularizer": _REGULARIZERS,
    "constraint": _REGULARIZERS,
    "embeddings_constraint": _REGULARIZERS,
    "embeddings_regularizer": _REGULARIZERS,
    "kernel_constraint": _REGULARIZERS,
    "gamma_constraint": _REGULARIZERS,
    "gamma_regularizer": _REGULARIZERS,
    "kernel_regularizer": _REGULARIZERS,
    "recurrent_constraint": _REGULARIZERS,
    "recurrent_regularizer": _REGULARIZERS,
    "regularizer": _REGULARIZERS,
    "metrics.Metric.add_variable.aggregation": "there are no replicas of a variable",
    "layers.Layer.add_weight.autocast": "a variable keeps its type",
    "aggregation": "there are no replicas of a variable",
    "overwrite_with_gradient": "optimizers update variables",
    "layers.TextVectorization.adapt.batch_size": "all texts are read, one by one",
    "layers.TextVectorization.adapt.steps": "all texts are read, one by one",
    "idf_weights": "texts become ids",
    "ngrams": "single words are numbered",
    "output_mode": "texts become ids",
    "pad_to_max_tokens": "texts become ids",
    "layers.TextVectorization.ragged": "rows are padded",
    "layers.TextVectorization.sparse": "texts become ids",
    "zipped": "a model is one file that is not packed",
    "max_shard_size": "weights are one file",
    "safe_mode": "no file can run code",
    "skip_mismatch": "all weights are loaded, or none",
    "data_format": "features are on the last axis",
    "groups": "each filter sees all features",
    "implementation": "there is one implementation",
    "initial_state_shape": "the states follow from the units",
    "input_tensor": "the functional API is not supported",
    "lora_alpha": "low-rank adapters are not supported",
    "lora_rank": "low-rank adapters are not supported",
    "optional": "a Sequential has one input",
    "quantization_config": "quantization is not supported",
    "layers.LayerNormalization.axis": "the features of a step are normalized",
    "layers.Input.ragged": "sequences of different lengths are padded, with lengths=",
    "layers.Input.sparse": "inputs are dense arrays",
    "layers.InputLayer.ragged": "sequences of different lengths are padded, with lengths=",
    "layers.InputLayer.sparse": "inputs are dense arrays",
    "layers.Input.tensor": "the functional API is not supported",
    "use_cudnn": "layers run on the CPU",
    "expand_nested": "layers inside have their own summary",
    "jit_compile": "nothing is compiled",
    "layer_range": "all layers are shown",
    "line_length": "columns are as wide as what they hold",
    "loss_weights": "they are factors of several losses, loss=[...] or {...}",
    "positions": "columns are as wide as what they hold",
    "rebuild": "the model always is what its layers are",
    "show_trainable": "the last line counts trainable and frozen weights",
    "steps_per_execution": "each step is one call",
    "ema_momentum": "no moving averages of the weights are kept",
    "ema_overwrite_frequency": "no moving averages of the weights are kept",
    "gradient_accumulation_steps": "each call updates the weights",
    "loss_scale_factor": "float32, float64 and bfloat16 need no scaled loss",
    "use_ema": "no moving averages of the weights are kept",
    "add_progbar": "pass a ProgressBar among the callbacks",
    "double_checkpoint": "a backup is replaced as a whole",
    "embeddings_freq": "only numbers are written",
    "embeddings_metadata": "only numbers are written",
    "histogram_freq": "only numbers are written",
    "profile_batch": "nothing is profiled",
    "write_images": "only numbers are written",
    "write_steps_per_second": "only the logs are written",
    "input_axes": "inputs are counted by the shape only",
    "output_axes": "outputs are counted by the shape only",
    "tf.name": "operations have no names",
    "tf.axes": "the norm is that of all elements",
    "num_reserved_ids": "give reserved ids the count 0",
    "num_shards": "one process samples all classes",
    "shard": "one process samples all classes",
    "vocab_file": "counts come as unigrams",
    "watch_accessed_variables": "trainable=False keeps a variable off all tapes",
}

# Accepted, and nothing to do: what it asks for holds anyway, or there is no such thing here.
NO_EFFECT = {
    "unroll": "steps are a loop in the core either way",
    "run_eagerly": "everything runs eagerly",
    "auto_scale_loss": "no type needs a scaled loss",
    "write_graph": "there is no graph",
    "layers.AdditiveAttention.compute_mask.inputs": "the mask alone decides",
    "layers.GlobalAveragePooling1D.compute_mask.inputs": "the mask alone decides",
    "layers.Layer.compute_mask.inputs": "the mask alone decides",
    "layers.Masking.compute_mask.mask": "the values alone decide",
    "_": "the mask alone decides",
    "layers.Embedding.autocast": "ids are not cast",
    "layers.Embedding.build.input_shape": "the table follows from input_dim and output_dim",
    "layers.TimeDistributed.autocast": "the layer inside casts",
    "models.Model.autocast": "the layers inside cast",
    "compute_loss.training": "the loss is the same, in Keras too",
    "compute_loss.x": "y and y_pred decide, in Keras too",
    "compute_metrics.x": "y and y_pred decide, in Keras too",
    "ops.unstack.num": "it must be the size of the axis",
    "layers.Dense.call.training": "a Dense layer is the same in training, in Keras too",
    "tf.sampling.compute_accidental_hits.seed": "nothing is drawn, in TensorFlow neither",
}

# No value is accepted.
REFUSED = {
    "models.Model.inputs": "the functional API is not supported",
    "models.Model.outputs": "the functional API is not supported",
}

# Taken only by position: the name here is another, TensorFlow's in the operations.
BY_POSITION = {
    "layers.Layer.compute_mask.previous_mask": "mask",
    "_": "inputs",
    "var_list": "variables",
    "x1": "x",
    "x2": "y",
    "newshape": "shape",
    "config.set_floatx.value": "dtype",
    "ops.stack.x": "values",
}
