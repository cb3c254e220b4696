"""The places where torch scripts look for things that live elsewhere here."""

from tritongrad.utils import checkpoint as checkpoint, data as data, model_zoo as model_zoo
