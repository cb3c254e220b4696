"""Weights of norm 1 times a length, of spectral norm 1, and orthogonal ones, as parametrizations."""

from __future__ import annotations

from enum import Enum
from typing import Any

from tritongrad.autograd import no_grad
from tritongrad.nn.conv_transpose import ConvTranspose1d, ConvTranspose2d, ConvTranspose3d
from tritongrad.nn.module import Module
from tritongrad.nn.utils.parametrize import register_parametrization
from tritongrad.nn.utils.weight_norm import lengths
from tritongrad.ops.arithmetic import sign
from tritongrad.ops.comparison import allclose, where
from tritongrad.ops.describe import finfo
from tritongrad.ops.equations import solve
from tritongrad.ops.host_matrices import diagonal_matrices, lower_part, turned
from tritongrad.ops.householder import geqrf, householder_product
from tritongrad.ops.joining import cat
from tritongrad.ops.linalg import dot, matmul, mv
from tritongrad.ops.matrix_functions import matrix_exp
from tritongrad.ops.ranges import eye
from tritongrad.ops.similarity import normalize
from tritongrad.random import normal_
from tritongrad.tensor import Tensor

# ---------------------------------------------------------------------------------------------------- orthogonal


class _OrthMaps(Enum):
    matrix_exp = "matrix_exp"
    cayley = "cayley"
    householder = "householder"


def _orthogonalised(a: Tensor) -> Tensor:
    """Q of a = Q R where the diagonal of R is not negative."""
    h, tau = geqrf(a)
    return householder_product(h, tau) * sign(h.diagonal(dim1=-2, dim2=-1)).unsqueeze(-2)


def _is_orthogonal(q: Tensor) -> bool:
    n, k = q.shape[-2:]
    unit = eye(k, dtype=q.dtype, device=q.device)
    return allclose(matmul(turned(q), q), unit.expand(*q.shape[:-2], k, k), atol=10.0 * n * finfo(q.dtype).eps)


class _Orthogonal(Module):
    """A map from matrices to those with orthonormal columns, or rows where there are fewer rows.

    matrix_exp   exp(A), A = X - X^T of the lower triangle of X
    cayley       (I - A/2)^-1 (I + A/2) of the same
    householder  the product of reflections whose vectors are below the diagonal of X, which has the signs on it

    With a `base`, this is multiplied by it: trivialisations, Lezcano-Casado 2019 (arXiv:1909.09501).
    """

    def __init__(self, weight: Tensor, orthogonal_map: _OrthMaps, *, use_trivialization: bool = True) -> None:
        super().__init__()
        self.shape, self.orthogonal_map = weight.shape, orthogonal_map
        if use_trivialization:
            self.register_buffer("base", None)

    def forward(self, X: Tensor) -> Tensor:
        wide = X.shape[-2] < X.shape[-1]
        x = turned(X) if wide else X
        q = self._reflections(x) if self.orthogonal_map is _OrthMaps.householder else self._rotation(x)
        if hasattr(self, "base"):
            q = matmul(self.base, q)
        return turned(q) if wide else q

    @staticmethod
    def _reflections(x: Tensor) -> Tensor:
        a = lower_part(x, -1)
        q = householder_product(a, 2.0 / (1.0 + (a * a).sum(-2)))
        return q * x.diagonal(dim1=-2, dim2=-1).int().unsqueeze(-2)

    def _rotation(self, x: Tensor) -> Tensor:
        n, k = x.shape[-2:]
        x = lower_part(x)
        if n != k:
            x = cat([x, x.new_zeros(*x.shape[:-1], n - k)], -1)
        a = x - turned(x)
        if self.orthogonal_map is _OrthMaps.matrix_exp:
            q = matrix_exp(a)
        else:
            unit = eye(n, dtype=a.dtype, device=a.device)
            q = solve(unit - 0.5 * a, unit + 0.5 * a)
        return q[..., :k]

    @no_grad()
    def right_inverse(self, Q: Tensor) -> Tensor:
        if Q.shape != self.shape:
            raise ValueError(
                f"Expected a matrix or batch of matrices of shape {list(self.shape)}. "
                f"Got a tensor of shape {list(Q.shape)}."
            )
        wide = Q.shape[-2] < Q.shape[-1]
        q = turned(Q) if wide else Q
        n, k = q.shape[-2:]
        if hasattr(self, "base"):
            if n != k:
                q = cat([q, normal_(q.new_empty(*q.shape[:-1], n - k))], -1)
            self.base = q.clone() if n == k and _is_orthogonal(q) else _orthogonalised(q)
            minus = -eye(*Q.shape[-2:], dtype=Q.dtype, device=Q.device)
            return minus.expand(*Q.shape).clone()
        if self.orthogonal_map is not _OrthMaps.householder:
            raise NotImplementedError(
                "It is not possible to assign to the matrix exponential or the Cayley parametrizations when "
                "use_trivialization=False."
            )
        h, tau = geqrf(q)
        signs = sign(h.diagonal(dim1=-2, dim2=-1))
        signs = where(tau == 0.0, -signs, signs)
        square = diagonal_matrices(signs)
        on_it = square if n == k else cat([square, square.new_zeros(*square.shape[:-2], n - k, k)], -2)
        a = h - lower_part(h) + lower_part(h, -1) + on_it
        return turned(a) if wide else a


def orthogonal(
    module: Module, name: str = "weight", orthogonal_map: str | None = None, *, use_trivialization: bool = True
) -> Module:
    """Keep a matrix, or the matrices of the last two axes, orthogonal: columns orthonormal, or rows if there are fewer.

    `orthogonal_map` is "matrix_exp" (for square matrices unless given), "cayley" or "householder" (for others). With
    `use_trivialization` the tensor starts as it is, or orthogonalised, and that start is kept as a buffer `base`.
    """
    weight = _tensor(module, name)
    if weight.ndim < 2:
        raise ValueError(f"Expected a matrix or batch of matrices. Got a tensor of {weight.ndim} dimensions.")
    if orthogonal_map is None:
        orthogonal_map = "matrix_exp" if weight.shape[-2] == weight.shape[-1] else "householder"
    if orthogonal_map not in _OrthMaps.__members__:
        raise ValueError(
            f'orthogonal_map has to be one of "matrix_exp", "cayley", "householder". Got: {orthogonal_map}'
        )
    made = _Orthogonal(weight, _OrthMaps[orthogonal_map], use_trivialization=use_trivialization)
    return register_parametrization(module, name, made, unsafe=True)


def _tensor(module: Module, name: str) -> Tensor:
    weight = getattr(module, name, None)
    if not isinstance(weight, Tensor):
        raise ValueError(f"Module '{module}' has no parameter or buffer with name '{name}'")
    return weight


# --------------------------------------------------------------------------------------------------- weight norm


class _WeightNorm(Module):
    """length * direction / |direction|, norms over all axes but one."""

    def __init__(self, dim: int | None = 0) -> None:
        super().__init__()
        self.dim = -1 if dim is None else dim

    def forward(self, weight_g: Tensor, weight_v: Tensor) -> Tensor:
        return weight_v * (weight_g / lengths(weight_v, self.dim))

    def right_inverse(self, weight: Tensor) -> tuple[Tensor, Tensor]:
        return lengths(weight, self.dim), weight


def weight_norm(module: Module, name: str = "weight", dim: int | None = 0) -> Module:
    """A weight as its norm for each index of `dim` (one of everything for None), original0, and direction, original1.

    States of `nn.utils.weight_norm`, with name_g and name_v, load too. Source: Salimans and Kingma 2016.
    """
    register_parametrization(module, name, _WeightNorm(dim), unsafe=True)

    def take_old_names(state_dict: dict[str, Any], prefix: str, *rest: Any) -> None:
        old = [f"{prefix}{name}_g", f"{prefix}{name}_v"]
        if all(key in state_dict for key in old):
            for i, key in enumerate(old):
                state_dict[f"{prefix}parametrizations.{name}.original{i}"] = state_dict.pop(key)

    module._register_load_state_dict_pre_hook(take_old_names)
    return module


# ------------------------------------------------------------------------------------------------- spectral norm


class _SpectralNorm(Module):
    """weight / sigma, its largest singular value as power iteration on the buffers _u and _v knows it."""

    def __init__(self, weight: Tensor, n_power_iterations: int = 1, dim: int = 0, eps: float = 1e-12) -> None:
        super().__init__()
        rank = weight.ndim
        if not -rank <= dim < rank:
            raise IndexError(f"Dimension out of range (expected to be in range of [{-rank}, {rank - 1}] but got {dim})")
        if n_power_iterations <= 0:
            raise ValueError(
                f"Expected n_power_iterations to be positive, but got n_power_iterations={n_power_iterations}"
            )
        self.dim, self.eps, self.n_power_iterations = dim % rank, eps, n_power_iterations
        if rank > 1:
            matrix = self._matrix(weight.detach())
            for end, extent in zip(("_u", "_v"), matrix.shape, strict=True):
                self.register_buffer(end, normalize(normal_(matrix.new_empty(extent)), dim=0, eps=eps))
            self._iterate(matrix, 15)

    def _matrix(self, weight: Tensor) -> Tensor:
        return weight.movedim(self.dim, 0).flatten(1)

    @no_grad()
    def _iterate(self, matrix: Tensor, times: int) -> None:
        for _ in range(times):
            self._u.copy_(normalize(mv(matrix, self._v), dim=0, eps=self.eps))
            self._v.copy_(normalize(mv(matrix.t(), self._u), dim=0, eps=self.eps))

    def forward(self, weight: Tensor) -> Tensor:
        if weight.ndim == 1:
            return normalize(weight, dim=0, eps=self.eps)
        matrix = self._matrix(weight)
        if self.training:
            self._iterate(matrix, self.n_power_iterations)
        u, v = self._u.clone(), self._v.clone()  # the next iteration must not change what this gradient needs
        return weight / dot(u, mv(matrix, v))

    def right_inverse(self, value: Tensor) -> Tensor:
        return value


def spectral_norm(
    module: Module, name: str = "weight", n_power_iterations: int = 1, eps: float = 1e-12, dim: int | None = None
) -> Module:
    """A weight divided by its largest singular value (Miyato et al. 2018).

    Rows are the outputs: axis `dim`, which is 0, or 1 for transposed convolutions. Fifteen steps of power iteration are
    made at once, and `n_power_iterations` whenever the weight is read while training.
    """
    weight = _tensor(module, name)
    if dim is None:
        dim = 1 if isinstance(module, ConvTranspose1d | ConvTranspose2d | ConvTranspose3d) else 0
    return register_parametrization(module, name, _SpectralNorm(weight, n_power_iterations, dim, eps))
