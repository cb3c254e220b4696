"""Layers that take the number of their inputs from the first of them."""

from __future__ import annotations

from typing import Any

from tritongrad.nn.batchnorm import BatchNorm1d, BatchNorm2d, BatchNorm3d
from tritongrad.nn.conv import Conv1d, Conv2d, Conv3d, weight_memory
from tritongrad.nn.conv_transpose import ConvTranspose1d, ConvTranspose2d, ConvTranspose3d
from tritongrad.nn.instancenorm import InstanceNorm1d, InstanceNorm2d, InstanceNorm3d
from tritongrad.nn.linear import Linear
from tritongrad.nn.parameter import UninitializedBuffer, UninitializedParameter, is_lazy
from tritongrad.ops.creation import tensor
from tritongrad.tensor import Tensor
from tritongrad_kernels.dtypes import dtype


class LazyModuleMixin:
    """A module whose uninitialized parameters get their shapes, by `initialize_parameters`, before its first forward.

    It then becomes an ordinary module, of the class `cls_to_become` where that is given. Loading a state gives shapes
    too. An optimizer may be made before the first call; a module shared by `DataParallel` needs one first.
    """

    cls_to_become: type | None = None
    _parameters: dict[str, Any]
    _buffers: dict[str, Any]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        module: Any = self
        self._initialize_hook = module.register_forward_pre_hook(self._infer_parameters, with_kwargs=True)

    def initialize_parameters(self, *args: Any, **kwargs: Any) -> None:
        """Materialize parameters for these inputs, and set their values; to be overridden."""
        raise NotImplementedError(f"initialize_parameters is not implemented for {type(self).__name__}")

    def has_uninitialized_params(self) -> bool:
        """Whether some parameter or buffer has no shape yet."""
        return any(is_lazy(t) for table in (self._parameters, self._buffers) for t in table.values())

    def _infer_parameters(self, module: Any, args: tuple, kwargs: dict[str, Any] | None = None) -> None:
        module.initialize_parameters(*args, **(kwargs or {}))
        if module.has_uninitialized_params():
            raise RuntimeError(f"module {module._get_name()} has not been fully initialized")
        module._initialize_hook.remove()
        del module._initialize_hook
        if module.cls_to_become is not None:
            module.__class__ = module.cls_to_become


class _LazyLayer(LazyModuleMixin):
    """A layer of the library that is lazy: parameters without shapes under the names of its ordinary ones."""

    def _leave_open(self, weight: bool, bias: bool, device: Any, dtype: dtype | None) -> None:
        if weight:
            self.weight: Any = UninitializedParameter(device=device, dtype=dtype)
        if bias:
            self.bias: Any = UninitializedParameter(device=device, dtype=dtype)

    def _inputs(self) -> int:
        """The number that is still to be known: 0 before."""
        raise NotImplementedError

    def reset_parameters(self) -> None:
        """Draw new initial values, once there is something to draw."""
        if not self.has_uninitialized_params() and self._inputs() != 0:
            super().reset_parameters()  # type: ignore[misc]


class LazyLinear(_LazyLayer, Linear):
    """A `Linear` whose in_features is the last extent of its first input."""

    cls_to_become = Linear

    def __init__(self, out_features: int, bias: bool = True, device: Any = None, dtype: dtype | None = None) -> None:
        super().__init__(0, 0, False)
        self._leave_open(True, bias, device, dtype)
        self.out_features = out_features

    def _inputs(self) -> int:
        return self.in_features

    def initialize_parameters(self, input: Tensor) -> None:
        """Weights for inputs like this one. AssertionError where a state of other ones has been loaded."""
        self.in_features = input.shape[-1]
        if self.has_uninitialized_params():
            self.weight.materialize((self.out_features, self.in_features))
            if self.bias is not None:
                self.bias.materialize((self.out_features,))
            self.reset_parameters()
        elif self.weight.shape[-1] != self.in_features:
            raise AssertionError(
                f"The in_features inferred from input: {self.in_features} is not equal to in_features from "
                f"self.weight: {self.weight.shape[-1]}"
            )


# -------------------------------------------------------------------------------------------------- convolutions


class _LazyConvXdMixin(_LazyLayer):
    """A convolution whose in_channels is that of its first input."""

    in_channels: int
    out_channels: int
    groups: int
    kernel_size: tuple[int, ...]
    transposed: bool

    def _inputs(self) -> int:
        return self.in_channels

    def initialize_parameters(self, input: Tensor, *args: Any, **kwargs: Any) -> None:
        """Weights for inputs like this one. RuntimeError for one of another number of dimensions."""
        axes = len(self.kernel_size)
        if input.ndim not in (axes + 1, axes + 2):
            raise RuntimeError(
                f"Expected {axes + 1}D (unbatched) or {axes + 2}D (batched) input to {type(self).__name__}, but got "
                f"input of size: {list(input.shape)}"
            )
        self.in_channels = input.shape[-axes - 1]
        if not self.has_uninitialized_params():
            return
        if self.in_channels % self.groups:
            raise ValueError("in_channels must be divisible by groups")
        made = weight_memory(
            self.in_channels, self.out_channels, self.kernel_size, self.groups, self.transposed,
            self.weight.device, self.weight.dtype,
        )  # fmt: skip
        self.weight.materialize(made.shape)
        self.weight.data = made
        if self.bias is not None:
            self.bias.materialize((self.out_channels,))
        self.reset_parameters()


class _LazyConv(_LazyConvXdMixin):
    def __init__(
        self,
        out_channels: int,
        kernel_size: Any,
        stride: Any = 1,
        padding: Any = 0,
        dilation: Any = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: str = "zeros",
        device: Any = None,
        dtype: dtype | None = None,
    ) -> None:
        super().__init__(0, 0, kernel_size, stride, padding, dilation, groups, False, padding_mode, device, dtype)
        self._leave_open(True, bias, device, dtype)
        self.out_channels = out_channels


class _LazyConvTranspose(_LazyConvXdMixin):
    def __init__(
        self,
        out_channels: int,
        kernel_size: Any,
        stride: Any = 1,
        padding: Any = 0,
        output_padding: Any = 0,
        groups: int = 1,
        bias: bool = True,
        dilation: Any = 1,
        padding_mode: str = "zeros",
        device: Any = None,
        dtype: dtype | None = None,
    ) -> None:
        super().__init__(
            0, 0, kernel_size, stride, padding, output_padding, groups, False, dilation, padding_mode, device, dtype
        )
        self._leave_open(True, bias, device, dtype)
        self.out_channels = out_channels


class LazyConv1d(_LazyConv, Conv1d):
    """A `Conv1d` that takes in_channels from its first input."""

    cls_to_become = Conv1d


class LazyConv2d(_LazyConv, Conv2d):
    """A `Conv2d` that takes in_channels from its first input."""

    cls_to_become = Conv2d


class LazyConv3d(_LazyConv, Conv3d):
    """A `Conv3d` that takes in_channels from its first input."""

    cls_to_become = Conv3d


class LazyConvTranspose1d(_LazyConvTranspose, ConvTranspose1d):
    """A `ConvTranspose1d` that takes in_channels from its first input."""

    cls_to_become = ConvTranspose1d


class LazyConvTranspose2d(_LazyConvTranspose, ConvTranspose2d):
    """A `ConvTranspose2d` that takes in_channels from its first input."""

    cls_to_become = ConvTranspose2d


class LazyConvTranspose3d(_LazyConvTranspose, ConvTranspose3d):
    """A `ConvTranspose3d` that takes in_channels from its first input."""

    cls_to_become = ConvTranspose3d


# ------------------------------------------------------------------------------------------------- normalisation


class _LazyNormBase(_LazyLayer):
    """A normalisation whose num_features is extent 1 of its first input."""

    num_features: int
    affine: bool
    track_running_stats: bool
    running_mean: Any
    running_var: Any

    def __init__(
        self,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        device: Any = None,
        dtype: dtype | None = None,
        *,
        bias: bool = True,
    ) -> None:
        super().__init__(0, eps, momentum, False, False, device, dtype, bias=False)
        self.affine, self.track_running_stats = affine, track_running_stats
        self._leave_open(affine, affine and bias, device, dtype)
        if track_running_stats:
            self.running_mean = UninitializedBuffer(device=device, dtype=dtype)
            self.running_var = UninitializedBuffer(device=device, dtype=dtype)
            self.num_batches_tracked = tensor(0, device=device)

    def _inputs(self) -> int:
        return self.num_features

    def initialize_parameters(self, input: Tensor) -> None:
        """Parameters and statistics for inputs like this one."""
        self.num_features = input.shape[1]
        if self.has_uninitialized_params():
            for table in (self._parameters, self._buffers):
                for entry in table.values():
                    if is_lazy(entry):
                        entry.materialize((self.num_features,))
            self.reset_parameters()


class LazyBatchNorm1d(_LazyNormBase, BatchNorm1d):
    """A `BatchNorm1d` that takes num_features from its first input."""

    cls_to_become = BatchNorm1d


class LazyBatchNorm2d(_LazyNormBase, BatchNorm2d):
    """A `BatchNorm2d` that takes num_features from its first input."""

    cls_to_become = BatchNorm2d


class LazyBatchNorm3d(_LazyNormBase, BatchNorm3d):
    """A `BatchNorm3d` that takes num_features from its first input."""

    cls_to_become = BatchNorm3d


class LazyInstanceNorm1d(_LazyNormBase, InstanceNorm1d):
    """An `InstanceNorm1d` that takes num_features from its first input."""

    cls_to_become = InstanceNorm1d


class LazyInstanceNorm2d(_LazyNormBase, InstanceNorm2d):
    """An `InstanceNorm2d` that takes num_features from its first input."""

    cls_to_become = InstanceNorm2d


class LazyInstanceNorm3d(_LazyNormBase, InstanceNorm3d):
    """An `InstanceNorm3d` that takes num_features from its first input."""

    cls_to_become = InstanceNorm3d
