"""Softmax over very many classes, rare ones in clusters (Grave et al. 2017)."""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from tritongrad.nn import functional as F
from tritongrad.nn.container import ModuleList, Sequential
from tritongrad.nn.linear import Linear
from tritongrad.nn.module import Module
from tritongrad.ops.comparison import where
from tritongrad.ops.joining import cat
from tritongrad.tensor import Tensor
from tritongrad_kernels.dtypes import dtype

_ASMoutput = namedtuple("_ASMoutput", ["output", "loss"])


class AdaptiveLogSoftmaxWithLoss(Module):
    """Log-probabilities of targets among `n_classes`, numbered from the most frequent on, and their mean as a loss.

    `cutoffs` are where clusters begin: classes before the first are in the head, beside one entry for each cluster,
    and the cluster of number i projects to in_features / div_value^(i + 1) numbers before its own classes.
    `forward(input, target)` takes [N, in_features] and [N], or [in_features] and [].
    """

    def __init__(
        self,
        in_features: int,
        n_classes: int,
        cutoffs: Sequence[int],
        div_value: float = 4.0,
        head_bias: bool = False,
        device: Any = None,
        dtype: dtype | None = None,
    ) -> None:
        super().__init__()
        cuts = list(cutoffs)
        if not cuts:
            raise ValueError("cutoffs should be a sequence of length larger than 0")
        if (
            any(int(c) != c for c in cuts)
            or cuts[0] <= 0
            or cuts[-1] > n_classes - 1
            or any(a >= b for a, b in pairwise(cuts))
        ):
            raise ValueError(
                f"cutoffs should be a sequence of unique, positive integers sorted in an increasing order, where each "
                f"value is between 1 and n_classes-1, got {cuts} and n_classes {n_classes}"
            )
        self.in_features, self.n_classes, self.cutoffs = in_features, n_classes, [*cuts, n_classes]
        self.div_value, self.head_bias = div_value, head_bias
        self.shortlist_size, self.n_clusters = cuts[0], len(cuts)
        self.head_size = self.shortlist_size + self.n_clusters
        self.head = Linear(in_features, self.head_size, bias=head_bias, device=device, dtype=dtype)
        self.tail = ModuleList()
        for i, (first, end) in enumerate(pairwise(self.cutoffs)):
            width = int(in_features // div_value ** (i + 1))
            sizes = pairwise((in_features, width, end - first))
            self.tail.append(Sequential(*(Linear(a, b, bias=False, device=device, dtype=dtype) for a, b in sizes)))

    def reset_parameters(self) -> None:
        """Draw new initial values."""
        self.head.reset_parameters()
        for cluster in self.tail:
            for layer in cluster:
                layer.reset_parameters()

    def forward(self, input_: Tensor, target_: Tensor) -> Any:
        if target_.ndim > 1:
            raise RuntimeError("0D or 1D target tensor expected, multi-target not supported")
        if target_.ndim == 1 and input_.shape[:1] != target_.shape:
            raise RuntimeError("Input and target should have the same size in the batch dimension.")
        if input_.ndim != target_.ndim + 1:
            raise RuntimeError(
                f"{target_.ndim}D target tensor expects {target_.ndim + 1}D input tensors, but found inputs with size "
                f"{list(input_.shape)}"
            )
        if not target_.ndim:
            output, loss = self.forward(input_.unsqueeze(0), target_.unsqueeze(0))
            return _ASMoutput(output.squeeze(0), loss)
        if target_.numel() and not 0 <= int(target_.min()) <= int(target_.max()) < self.n_classes:
            raise RuntimeError(
                f"Target values should be in [0, {self.n_classes - 1}], but values in range "
                f"[{target_.min().item()}, {target_.max().item()}] were found. "
            )
        cluster = sum((target_ >= cut).to(target_.dtype) for cut in self.cutoffs[:-1])
        entry = where(cluster == 0, target_, cluster + (self.shortlist_size - 1))
        output = F.log_softmax(self.head(input_), dim=1).gather(1, entry.unsqueeze(1)).squeeze(1)
        for i, first in enumerate(self.cutoffs[:-1]):
            rows = (cluster == i + 1).nonzero().squeeze(1)
            if rows.numel():
                own = (target_[rows] - first).unsqueeze(1)
                inside = F.log_softmax(self.tail[i](input_.index_select(0, rows)), dim=1).gather(1, own).squeeze(1)
                output = output.index_add(0, rows, inside)
        return _ASMoutput(output, (-output).mean())

    def _get_full_log_prob(self, input: Tensor, head_output: Tensor) -> Tensor:
        head = F.log_softmax(head_output, dim=1)
        n = self.shortlist_size
        inside = [
            F.log_softmax(layers(input), dim=1) + head[:, n + i : n + i + 1] for i, layers in enumerate(self.tail)
        ]
        return cat([head[:, :n], *inside], 1)

    def log_prob(self, input: Tensor) -> Tensor:
        """[N, n_classes] log-probabilities of all classes."""
        return self._get_full_log_prob(input, self.head(input))

    def predict(self, input: Tensor) -> Tensor:
        """[N] most probable classes; clusters are computed only for rows of which the head says that it is in one."""
        head = self.head(input)
        best = head.argmax(1)
        rows = (best >= self.shortlist_size).nonzero().squeeze(1)
        if not rows.numel():
            return best
        return best.index_copy(0, rows, self._get_full_log_prob(input[rows], head[rows]).argmax(1))
