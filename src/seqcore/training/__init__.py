"""Training: compile, fit, evaluate and predict, one step at a time."""
