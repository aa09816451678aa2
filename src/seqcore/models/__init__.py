"""Models: Model (subclass it with a ``call``), Sequential, and streams of one time step at a time."""

from ..layers.registry import register
from .loading import load_model
from .model import Model
from .sequential import Sequential
from .stream import Stream

__all__ = ["Model", "Sequential", "Stream", "load_model", "register"]
