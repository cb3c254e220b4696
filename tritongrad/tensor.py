"""Tensor: an array, and where it came from.

Operators and methods that compute are attached by `tritongrad.ops`, each the very function users can call; what is
defined here describes a tensor, converts it, or differentiates it.
"""

from __future__ import annotations

import copy
import math
import weakref
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from tritongrad import autograd, printing, tracing
from tritongrad.methods import Attached
from tritongrad.storage import Storage
from tritongrad_kernels import dtypes, elementwise, formats, index
from tritongrad_kernels.array import Array, empty, empty_like, from_host, to_device, to_dlpack
from tritongrad_kernels.driver import DEFAULT_DEVICE, Device
from tritongrad_kernels.memory import check_device, looks

# The dtype of tensors made from Python floats; see `set_default_dtype`.
_default_dtype = dtypes.float32


def get_default_dtype() -> dtypes.dtype:
    """The dtype that Python floats, and functions without a `dtype` argument, take."""
    return _default_dtype


def set_default_dtype(d: dtypes.dtype) -> None:
    """Make `d`, a floating dtype, the default."""
    global _default_dtype
    if not d.is_floating_point:
        raise TypeError(f"set_default_dtype: only floating-point dtypes can be the default, got {d.name}")
    _default_dtype = d


class Size(tuple):
    """A shape. Equal to the tuple of its extents; slices, sums and multiples of it are sizes too."""

    def __new__(cls, extents: Iterable[Any] = ()) -> Size:
        """TypeError where an extent is no whole number."""
        return tuple.__new__(cls, map(_extent, extents))

    def __getitem__(self, key: Any) -> Any:
        found = tuple.__getitem__(self, key)
        return Size(found) if isinstance(key, slice) else found

    def __add__(self, other: Any) -> Any:
        return Size(tuple.__add__(self, other))

    def __radd__(self, other: Any) -> Any:
        return Size(other + tuple(self))

    def __mul__(self, times: Any) -> Any:
        return Size(tuple.__mul__(self, times))

    __rmul__ = __mul__

    def numel(self) -> int:
        return math.prod(self)

    def __repr__(self) -> str:
        return f"tritongrad.Size({list(self)})"


def _extent(n: Any) -> int:
    if type(n) is int:
        return n
    if isinstance(n, float) or not hasattr(n, "__index__"):
        raise TypeError(f"Size: expected whole numbers, got {type(n).__name__}")
    return n.__index__()


class Tensor(Attached):
    """A strided array of numbers that remembers, where a gradient is wanted, the operation it came from."""

    __slots__ = ("__dict__", "__weakref__", "_node", "_requires_grad", "array", "grad", "hooks", "output_number")

    aliasing: Any = None  # if this is a view, the `aliasing.View` that says of what
    after_accumulation: Sequence[Callable] = ()  # hooks called when `.grad` has been added to
    retains_grad = False  # whether this non-leaf keeps its gradient, as leaves do
    working_copy: Any = None  # values in another dtype; see `precision.working_copy`
    rewrites = 0  # how often an in-place operation has given this tensor, the base of views, another history

    def __init__(self, *data: Any, requires_grad: bool = False, device: Any = None) -> None:
        """Made from an Array inside the framework; else torch's constructor of old, in the default dtype.

        `Tensor(2, 3)` is uninitialised memory, `Tensor([1, 2])` the values of a sequence or numpy array, `Tensor(t)`
        another name for t. `tensor(...)` is the better way, which also keeps dtypes.
        """
        if len(data) == 1 and type(data[0]) is Array:
            self.array: Array = data[0]
        else:
            self.array = constructed(data, _default_dtype, device)
        self._node: autograd.Node | None = None
        self.output_number = 0
        self._requires_grad = requires_grad
        self.grad: Tensor | None = None
        self.hooks: list[Callable] | None = None

    # ------------------------------------------------------------------------------------------------ description

    @property
    def shape(self) -> Size:
        return tuple.__new__(Size, self.array.shape)  # whole numbers, as they are

    def size(self, dim: int | None = None) -> Any:
        """The shape, or one extent of it."""
        return self.shape if dim is None else self.array.shape[self.axis(dim)]

    @property
    def ndim(self) -> int:
        return self.array.ndim

    def dim(self) -> int:
        return self.array.ndim

    ndimension = dim

    def numel(self) -> int:
        return self.array.size

    nelement = numel
    __array_priority__ = 1000  # numpy scalars leave arithmetic to us

    @property
    def dtype(self) -> dtypes.dtype:
        return self.array.dtype

    @property
    def device(self) -> Device:
        return self.array.device

    @property
    def is_cuda(self) -> bool:
        return self.device.type == "cuda"

    @property
    def itemsize(self) -> int:
        return self.dtype.itemsize

    def element_size(self) -> int:
        return self.dtype.itemsize

    @property
    def nbytes(self) -> int:
        return self.array.nbytes

    def stride(self, dim: int | None = None) -> Any:
        """How many elements apart neighbours along each axis (or one) lie."""
        return self.array.strides if dim is None else self.array.strides[self.axis(dim)]

    def storage_offset(self) -> int:
        return self.array.offset

    def data_ptr(self) -> int:
        self.array.memory.exposed = True
        return self.array.data_ptr()

    def is_floating_point(self) -> bool:
        return self.dtype.is_floating_point

    def is_complex(self) -> bool:
        return False

    def is_signed(self) -> bool:
        return self.dtype.is_signed

    @property
    def real(self) -> Tensor:
        """The tensor itself: there are no complex ones."""
        return self

    @property
    def layout(self) -> formats.layout:
        """How elements lie in memory: always by strides."""
        return formats.strided

    is_sparse = is_quantized = is_mkldnn = is_meta = is_nested = False

    def get_device(self) -> int:
        """The index of the GPU; -1 on the CPU."""
        return (self.device.index or 0) if self.is_cuda else -1

    def untyped_storage(self) -> Storage:
        """The memory behind this tensor and its views, in bytes."""
        return Storage(self.array, 1)

    def storage(self) -> Storage:
        """The memory behind this tensor and its views, in elements."""
        return Storage(self.array, self.itemsize)

    def is_pinned(self, device: Any = None) -> bool:
        """Whether this is host memory that a GPU reaches: all of it, where there is a GPU."""
        return self.array.memory.is_pinned

    def pin_memory(self, device: Any = None) -> Tensor:
        """The tensor itself: host memory is always pinned where there is a GPU, and nothing is to be had elsewhere."""
        if self.is_cuda:
            raise RuntimeError(f"pin_memory: only host memory can be pinned, and this tensor is on {self.device}")
        return self

    def is_shared(self) -> bool:
        return False

    def share_memory_(self) -> Tensor:
        raise RuntimeError("share_memory_: memory shared between processes is not offered; send the values instead")

    def is_contiguous(self, memory_format: formats.memory_format = formats.contiguous_format) -> bool:
        """Whether memory holds the elements in C order, or in the given `memory_format`."""
        return formats.lies_in(self.array, formats.require_format("is_contiguous", memory_format))

    def axis(self, dim: int) -> int:
        """`dim` counted from the front; IndexError in torch's words if there is no such axis."""
        limit = max(self.ndim, 1)
        if not -limit <= dim < limit:
            raise IndexError(
                f"Dimension out of range (expected to be in range of [{-limit}, {limit - 1}], but got {dim})"
            )
        return dim % limit

    def __len__(self) -> int:
        if self.ndim == 0:
            raise TypeError("len() of a 0-d tensor")
        return self.array.shape[0]

    def __iter__(self) -> Iterator[Tensor]:
        if self.ndim == 0:
            raise TypeError("iteration over a 0-d tensor")
        return (self[i] for i in range(len(self)))

    def __hash__(self) -> int:
        return id(self)

    # ------------------------------------------------------------------------------------------------ to the host

    def numpy(self, *, force: bool = False) -> np.ndarray:
        """The elements as a numpy array: sharing memory on the CPU, a copy from a GPU, where torch would refuse.

        On a machine with a GPU tensors are made there by default, so scripts that never name a device must get theirs
        back. bfloat16 comes as ml_dtypes.bfloat16. RuntimeError for a tensor that requires grad, unless `force`d.
        """
        self._require_no_grad(force)
        looks("numpy()")
        self.array.memory.exposed |= not self.is_cuda
        return self._host()

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        self._require_no_grad(False)
        looks("conversion to a numpy array")
        self.array.memory.exposed |= not (copy or self.is_cuda)
        return np.array(self._host(), dtype, copy=copy)

    def _require_no_grad(self, force: bool) -> None:
        if self.requires_grad and not force:
            raise RuntimeError(
                "numpy: can't be called on a tensor that requires grad; use tensor.detach().numpy() instead"
            )

    def _host(self) -> np.ndarray:
        index.settle()
        return self.array.numpy()

    def __dlpack__(
        self, *, stream: Any = None, max_version: Any = None, dl_device: Any = None, copy: bool | None = None
    ) -> Any:
        """A DLPack capsule of the elements, sharing memory; numpy, torch and others take it by `from_dlpack`."""
        if self.requires_grad:
            raise BufferError("__dlpack__: can't export a tensor that requires grad; use tensor.detach()")
        looks("export by __dlpack__")
        index.settle()
        return to_dlpack(self.array, stream=stream, max_version=max_version, dl_device=dl_device, copy=copy)

    def __dlpack_device__(self) -> tuple[int, int]:
        """DLPack's number for the kind of device (1 host, 2 CUDA, 3 host memory pinned for CUDA), and its index."""
        if self.is_cuda:
            return 2, self.device.index or 0
        return (3 if self.is_pinned() else 1), 0

    def item(self) -> Any:
        """The only element as a Python number."""
        if self.numel() != 1:
            raise RuntimeError(f"item: a tensor with {self.numel()} elements cannot be converted to a scalar")
        looks("item()")
        value = self._host().reshape(-1)[0]
        return float(value) if self.dtype.is_floating_point else value.item()

    def tolist(self) -> Any:
        """Nested lists of Python numbers."""
        looks("tolist()")
        host = self._host()
        return host.astype(np.float32).tolist() if self.dtype is dtypes.bfloat16 else host.tolist()

    def __bool__(self) -> bool:
        if self.numel() != 1:
            raise RuntimeError(f"Boolean value of a tensor with {self.numel()} elements is ambiguous")
        looks("bool() of a tensor, as in `if` or `while`,")
        return bool(self.item())

    def __int__(self) -> int:
        looks("int() of a tensor")
        return int(self._only())

    def __float__(self) -> float:
        looks("float() of a tensor")
        return float(self._only())

    def _only(self) -> Any:
        if self.numel() != 1:
            raise ValueError(f"only one element tensors can be converted to Python scalars, not {list(self.shape)}")
        return self.item()

    def __contains__(self, element: Any) -> bool:
        """Whether some element equals the given one."""
        if not isinstance(element, Tensor | bool | int | float):
            raise RuntimeError(f"Tensor.__contains__ only supports a Tensor or a number, got {type(element).__name__}")
        return bool((self == element).any())

    def __index__(self) -> int:
        if self.dtype.is_floating_point or self.numel() != 1:
            raise TypeError("only integer tensors of a single element can be converted to an index")
        looks("a tensor as an index of Python")
        return int(self.item())

    def __format__(self, spec: str) -> str:
        return format(self.item(), spec) if self.ndim == 0 else object.__format__(self, spec)

    def __repr__(self) -> str:
        looks("print() of a tensor, or repr(),")
        notes = [f"device='{self.device}'"] if self.is_cuda else []
        if self.node is not None:
            notes.append(f"grad_fn={self.node}")
        elif self.requires_grad:
            notes.append("requires_grad=True")
        return printing.text(self._host(), self.dtype, _default_dtype, notes)

    def __reduce__(self) -> tuple:
        """Values, memory order, requires_grad and attributes; a result comes back as a leaf, without its history."""
        looks("pickle of a tensor")
        order = self.array.dense_order() or tuple(range(self.ndim))
        values = np.array(self._host().transpose(order), order="C")
        return (_rebuild, (type(self), values, order, self.requires_grad), self._attributes() or None)

    def __setstate__(self, attributes: dict[str, Any]) -> None:
        self.__dict__.update(attributes)

    def _attributes(self) -> dict[str, Any]:
        """What a user hung on this tensor."""
        return {k: v for k, v in self.__dict__.items() if k not in ("aliasing", "rewrites", "working_copy")}

    def __copy__(self) -> Any:
        """Another tensor in the same memory."""
        copied = _bare(type(self), self.array, self._requires_grad)
        copied.__dict__.update(self._attributes())
        return copied

    def __deepcopy__(self, memo: dict) -> Any:
        if self.node is not None:
            raise RuntimeError("deepcopy: only leaf tensors (made by the user) can be copied deeply; detach() first")
        if id(self) not in memo:
            copied = _bare(type(self), duplicate(self.array), self._requires_grad)
            if self.grad is not None:
                copied.grad = _bare(type(self.grad), duplicate(self.grad.array), self.grad._requires_grad)
            memo[id(self)] = copied
            copied.__dict__.update(copy.deepcopy(self._attributes(), memo))
        return memo[id(self)]

    # -------------------------------------------------------------------------------------------------- gradients

    @property
    def requires_grad(self) -> bool:
        if self.aliasing is not None and self.aliasing.seen != self.aliasing.base.rewrites:
            self.aliasing.refresh(self)
        return self._requires_grad

    @requires_grad.setter
    def requires_grad(self, value: bool) -> None:
        if value and not self.dtype.is_floating_point:
            raise RuntimeError(f"only tensors of floating point dtype can require gradients, not {self.dtype.name}")
        if not value and self.node is not None:
            raise RuntimeError("requires_grad can only be turned off for leaf tensors; use detach() for others")
        self._requires_grad = value

    def requires_grad_(self, requires_grad: bool = True) -> Tensor:
        """Ask for gradients of this leaf (or no longer), in place."""
        self.requires_grad = requires_grad
        return self

    @property
    def node(self) -> autograd.Node | None:
        """The operation this tensor came from; None for a leaf."""
        if self.aliasing is not None and self.aliasing.seen != self.aliasing.base.rewrites:
            self.aliasing.refresh(self)
        return self._node

    @node.setter
    def node(self, node: autograd.Node | None) -> None:
        self._node = node
        if self.aliasing is not None:
            self.aliasing = None  # a history of its own, not that of its base

    def originate(self, node: autograd.Node) -> None:
        """Be what `node` gave: a history of its own, whatever this was a view of."""
        if not self.array.dtype.is_floating_point:
            raise RuntimeError(f"only tensors of floating point dtype can require gradients, not {self.dtype.name}")
        if self.aliasing is not None:
            self.aliasing = None
        self._node, self.output_number, self._requires_grad = node, 0, True

    def rebind(self, node: autograd.Node) -> None:
        """Come from `node`: what a view does whose base has got another history."""
        self._node, self.output_number, self._requires_grad = node, 0, True

    @property
    def _base(self) -> Tensor | None:
        """The tensor in whose memory this view lies, itself no view; None if this is none."""
        return None if self.aliasing is None else self.aliasing.base

    def _is_view(self) -> bool:
        return self.aliasing is not None

    @property
    def is_leaf(self) -> bool:
        return self.node is None

    @property
    def grad_fn(self) -> autograd.Node | None:
        return self.node

    @property
    def _version(self) -> int:
        return self.array.memory.version

    @property
    def data(self) -> Tensor:
        """The same memory without a history."""
        return Tensor(self.array)

    @data.setter
    def data(self, value: Tensor) -> None:
        self.array = value.array

    def detach(self) -> Tensor:
        """The same memory without a history."""
        return Tensor(self.array)

    def detach_(self) -> Tensor:
        """Forget this tensor's history, in place. RuntimeError for a view."""
        if self.aliasing is not None:
            raise RuntimeError("Can't detach views in-place. Use detach() instead")
        self.node, self.output_number, self._requires_grad = None, 0, False
        return self

    def backward(
        self,
        gradient: Tensor | None = None,
        retain_graph: bool | None = None,
        create_graph: bool = False,
        inputs: Any = None,
    ) -> None:
        """Add to `.grad` of every leaf this tensor depends on the gradient of it, weighed by `gradient`."""
        autograd.backward(self, gradient, retain_graph, create_graph, inputs)

    def register_hook(self, hook: Callable[[Tensor], Tensor | None]) -> Hook:
        """Call `hook` with the gradient of this tensor whenever one is had; what it returns replaces it."""
        if not self.requires_grad:
            raise RuntimeError("register_hook: can't register a hook on a tensor that doesn't require gradient")
        if self.node is not None:
            hooks = self.node.hooks.setdefault(self.output_number, [])
        else:
            hooks = self.hooks = self.hooks if self.hooks is not None else []
        hooks.append(hook)
        return Hook(hooks, hook)

    def register_post_accumulate_grad_hook(self, hook: Callable[[Tensor], None]) -> Hook:
        """Call `hook` with this leaf each time a backward has added to its `.grad`."""
        if not self.requires_grad:
            raise RuntimeError("cannot register a hook on a tensor that doesn't require gradient")
        if self.node is not None:
            raise RuntimeError("post accumulate grad hooks cannot be registered on non-leaf tensors")
        hooks = self.after_accumulation = self.after_accumulation or []
        assert isinstance(hooks, list)
        hooks.append(hook)
        return Hook(hooks, hook)

    def retain_grad(self) -> None:
        """Keep the gradient of this non-leaf in `.grad` as well."""
        if not self.requires_grad:
            raise RuntimeError("can't retain_grad on Tensor that has requires_grad=False")
        if self.node is None or self.retains_grad:
            return
        this = weakref.ref(self)  # the graph must not keep alive what it gave

        def keep(g: Tensor) -> None:
            tensor = this()
            if tensor is not None:
                tensor.grad = g if tensor.grad is None else tensor.grad + g

        self.register_hook(keep)
        self.retains_grad = True

    # What `autograd` asks of a tensor.

    def result_of(self, node: autograd.Node) -> Tensor:
        """The tensor that `node` gave, as an input of its own gradient."""
        assert node.output is not None
        result = Tensor(node.output, requires_grad=True)
        result.node = node
        return result

    def ones_like(self) -> Tensor:
        return Tensor(elementwise.fill(empty_like(self.array), 1))

    def zeros_like(self) -> Tensor:
        return Tensor(elementwise.fill(empty_like(self.array), 0))

    def from_numpy_like(self, values: np.ndarray) -> Tensor:
        """Values as a tensor of this one's shape, dtype, device and requires_grad."""
        array = from_host(values.reshape(self.shape).astype(self.dtype.numpy), self.device)
        return Tensor(array, requires_grad=self.requires_grad and self.node is None)

    def fitted(self, shape: tuple[int, ...], dtype: dtypes.dtype, name: str) -> Tensor:
        """This gradient in the shape and dtype of the input it is for, summed over what that was broadcast along."""
        tracing.note_gradient()
        g = self
        if g.array.shape != shape:
            try:
                broadcast = elementwise.broadcast_shapes(g.array.shape, shape) == g.array.shape
            except ValueError:
                broadcast = False
            if not broadcast:
                raise RuntimeError(
                    f"{name}: backward gave a gradient of shape {list(g.shape)} for an input of shape {list(shape)}"
                )
            g = g.sum_to_size(shape)
        return g if g.dtype is dtype else g.to(dtype)

    def own(self, leaf: Tensor, shared: bool) -> Tensor:
        """This gradient as the leaf's own: dense, and in memory nobody else writes to."""
        g = self.detach()
        if shared or g.array.dense_order() is None or g.array.size * g.itemsize < g.array.memory.nbytes - 16:
            g = Tensor(elementwise.copy_into(g.array, empty_like(leaf.array)))
        return g


class Hook:
    """A registered hook, which `remove()` takes away again."""

    def __init__(self, hooks: list[Callable], hook: Callable) -> None:
        self._hooks, self._hook = hooks, hook

    def remove(self) -> None:
        if self._hook in self._hooks:
            self._hooks.remove(self._hook)


def _bare(cls: type, array: Array, requires_grad: bool) -> Any:
    """A leaf of a class whose own constructor wants something else."""
    result: Tensor = object.__new__(cls)
    Tensor.__init__(result, array)
    result._requires_grad = requires_grad
    return result


def _rebuild(cls: type, values: np.ndarray, order: Sequence[int], requires_grad: bool) -> Tensor:
    back = [order.index(axis) for axis in range(len(order))]
    return _bare(cls, from_host(values).permute(back), requires_grad)


def constructed(data: tuple[Any, ...], kind: dtypes.dtype, device: Any) -> Array:
    """What `Tensor(...)` or `FloatTensor(...)` stands for: sizes, a sequence of numbers, or a tensor."""
    place, first = as_device(device), data[0] if data else None
    if len(data) == 1 and isinstance(first, Tensor):
        return first.array
    if len(data) == 1 and not isinstance(first, Size | int):
        if not isinstance(first, Sequence | np.ndarray) or isinstance(first, str):
            raise TypeError(f"Tensor: expected sizes or a sequence of numbers, got {type(first).__name__}")
        return from_host(np.array(first, kind.numpy), place)
    shape = tuple(Size(first if isinstance(first, Size) else data)) if data else (0,)
    if min(shape, default=0) < 0:
        raise RuntimeError(f"Tensor: extents must not be negative, got {list(shape)}")
    return empty(shape, kind, place)


def duplicate(a: Array) -> Array:
    """A copy that keeps a dense array's memory order."""
    return elementwise.copy_into(a, empty_like(a))


# --------------------------------------------------------------------------------------------------------- recording


def record(y: Array, *edges: autograd.Edge) -> Tensor:
    """`y` as a tensor computed from each edge's tensor, with the function that gives that tensor's gradient.

    The function takes the gradient of `y` (or that, and `y`) and gives a Tensor; written in differentiable operations,
    it can be differentiated again. It must not hold the result: a second parameter receives it.
    """
    result = Tensor(y)
    if not autograd.is_grad_enabled():
        return result
    if y.dtype.is_floating_point:
        autograd.bind(result, autograd.node_of(edges))
    listener = tracing.listener()
    if listener is not None and edges:
        tracing.note(listener, edges[0][1], tracing.values([t for t, _ in edges]), result, {})
    return result


def record_joint(
    y: Array,
    inputs: Sequence[Tensor | None],
    function: Callable[[Tensor, list[bool]], Sequence[Tensor | None]],
    **facts: Any,
) -> Tensor:
    """As `record`, for gradients that one computation gives together. `facts` are for a trace, and change nothing."""
    result = autograd.bind(Tensor(y), autograd.joint_node(inputs, function))
    listener = tracing.listener()
    if listener is not None:
        tracing.note(listener, function, tracing.values(inputs), result, facts)
    return result


def record_several(
    arrays: Sequence[Array],
    inputs: Sequence[Tensor | None],
    function: Callable[[Sequence[Tensor | None], list[bool]], Sequence[Tensor | None]],
) -> tuple[Tensor, ...]:
    """As `record_joint`, for several results of one computation.

    The function takes a gradient for each of them, None for one that nothing depended on.
    """
    results = tuple([Tensor(a) for a in arrays])
    if autograd.is_grad_enabled() and any(t is not None and t.requires_grad for t in inputs):
        node = autograd.Node(autograd.name_of(function), inputs, function, len(results))
        node.keep([function])
        for number, result in enumerate(results):
            result.originate(node)
            result.output_number = number
    listener = tracing.listener()
    if listener is not None:
        for result in results:
            tracing.note(listener, function, tracing.values(inputs), result, {})
    return results


def record_inplace(x: Tensor, write: Callable[[], object], *edges: autograd.Edge) -> Tensor:
    """`write` new values into the memory of `x`, which becomes the result of the operation.

    Where x is a view, its base becomes the result of an operation on the part of it that x shows; see `aliasing`.
    """
    if autograd.is_grad_enabled() and x.requires_grad and x.is_leaf:
        raise RuntimeError("a leaf Variable that requires grad is being used in an in-place operation.")
    if x.array.size > 1 and 0 in [s for n, s in zip(x.array.shape, x.array.strides, strict=True) if n > 1]:
        raise RuntimeError("an in-place operation would write one memory location several times: clone() the tensor")
    # Versions are noted before the write, so that inputs it destroys are refused later.
    node = autograd.node_of(edges) if x.dtype.is_floating_point else None
    if node is None and x.requires_grad:
        node = autograd.node_of([(x, lambda dy: dy.zeros_like())])  # what was there is gone, whatever is there now
    owner = x
    if node is not None and x.aliasing is not None:
        owner, node = x.aliasing.base, x.aliasing.rewriting(x, edges, node)
    listener = tracing.listener()
    operands = tracing.values([t for t, _ in edges]) if listener is not None else ()
    write()
    x.array.memory.version += 1
    if node is not None:
        autograd.bind(owner, node)
        owner.rewrites += 1
    if listener is not None and edges:
        tracing.note(listener, edges[0][1], operands, x, {})
    return x


def differentiable(composition: Callable[..., Tensor], inputs: Sequence[Tensor | None], dy: Tensor) -> list:
    """The gradients of a composition of differentiable operations, recorded so that they can be differentiated again.

    For fused operations: their own backward kernels have no second derivative.
    """
    # Each input gets an identity of its own, so that one input's dependence on another does not count twice.
    aliases = [None if t is None else record(t.array, (t, lambda g: g)) for t in inputs]
    wanted = [t for t in aliases if t is not None and t.requires_grad]
    with autograd.enable_grad():
        found = iter(autograd.grad(composition(*aliases), wanted, dy, create_graph=True, allow_unused=True))
    return [next(found) if t is not None and t.requires_grad else None for t in aliases]


def as_device(device: Any) -> Device | None:
    """A Device from what users pass: None, "cuda", "cuda:1", an index, a Device; RuntimeError if it is not there."""
    if device is None:
        return None
    return check_device(Device(device))


__all__ = [
    "DEFAULT_DEVICE",
    "Hook",
    "Size",
    "Tensor",
    "as_device",
    "differentiable",
    "duplicate",
    "empty",
    "get_default_dtype",
    "record",
    "record_inplace",
    "record_joint",
    "record_several",
    "set_default_dtype",
    "to_device",
]
