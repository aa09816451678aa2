"""The state of a Word2Vec in bits."""


def state(model):
    """All that training changes, in bits."""
    losses = [(entry["loss"], entry["pairs"], entry["epoch"]) for entry in model.history]
    arrays = model.wv.vectors.tobytes(), model.syn1neg.tobytes(), model.counts.tobytes()
    schedule = vars(model._schedule).copy() if model._schedule else None
    return arrays, list(model.words), losses, model.corpus_count, model.corpus_total_words, model._passes, schedule
