"""Parameters, by the name of torch's file."""

from tritongrad.nn.module import Parameter as Parameter
