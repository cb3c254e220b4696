"""Sequences of different lengths: padded to one length, or packed step by step for recurrent layers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

from tritongrad.ops.creation import as_tensor, tensor
from tritongrad.ops.gather import index_select
from tritongrad.ops.packing import Steps, packed, padded, sizes_of, spread
from tritongrad.ops.slicing import narrow
from tritongrad.ops.sort import argsort
from tritongrad.ops.views import movedim
from tritongrad.tensor import Tensor
from tritongrad_kernels import dtypes


class _Fields(NamedTuple):
    data: Tensor
    batch_sizes: Tensor
    sorted_indices: Tensor | None
    unsorted_indices: Tensor | None


class PackedSequence(_Fields):
    """Sequences without their padding: all first elements, all second ones, and so on.

    data              [rows, ...]
    batch_sizes       int64 on the host: how many sequences each step has, never rising
    sorted_indices    which of the sequences that were packed each one is; None if they were in order of falling length
    unsorted_indices  the inverse of that

    Made by `pack_sequence` and `pack_padded_sequence`.
    """

    def __new__(
        cls,
        data: Any,
        batch_sizes: Tensor | None = None,
        sorted_indices: Tensor | None = None,
        unsorted_indices: Tensor | None = None,
    ) -> PackedSequence:
        if unsorted_indices is None:
            unsorted_indices = invert_permutation(sorted_indices)
        if batch_sizes is None:
            if not (isinstance(data, list | tuple) and len(data) == 2):
                raise AssertionError("PackedSequence: without batch_sizes, data must be a pair (data, batch_sizes)")
            data, batch_sizes = data
        elif batch_sizes.device.type != "cpu":
            raise ValueError(
                "PackedSequence: batch_sizes should always be on the CPU; let pack_sequence or pack_padded_sequence "
                "make it"
            )
        return super().__new__(cls, data, batch_sizes, sorted_indices, unsorted_indices)

    def _with(self, data: Tensor, index: Callable[[Tensor], Tensor]) -> PackedSequence:
        order = [None if t is None else index(t) for t in (self.sorted_indices, self.unsorted_indices)]
        return type(self)(data, self.batch_sizes, *order)

    def to(self, *args: Any, **kwargs: Any) -> PackedSequence:
        """`data` as `Tensor.to` gives it, and the indices on its device; itself where nothing changes."""
        data = self.data.to(*args, **kwargs)
        return self if data is self.data else self._with(data, lambda t: t.to(data.device))

    def cuda(self, *args: Any, **kwargs: Any) -> PackedSequence:
        """On the GPU."""
        return self.to(*(args or ("cuda",)), **kwargs)

    def cpu(self, *args: Any, **kwargs: Any) -> PackedSequence:
        """On the host."""
        return self.to("cpu", *args, **kwargs)

    def pin_memory(self) -> PackedSequence:
        """In memory from which copies to the GPU are fast."""
        return self._with(self.data.pin_memory(), lambda t: t.pin_memory())

    def double(self) -> PackedSequence:
        return self.to(dtypes.float64)

    def float(self) -> PackedSequence:
        return self.to(dtypes.float32)

    def half(self) -> PackedSequence:
        return self.to(dtypes.float16)

    def long(self) -> PackedSequence:
        return self.to(dtypes.int64)

    def int(self) -> PackedSequence:
        return self.to(dtypes.int32)

    def short(self) -> PackedSequence:
        return self.to(dtypes.int16)

    def char(self) -> PackedSequence:
        return self.to(dtypes.int8)

    def byte(self) -> PackedSequence:
        return self.to(dtypes.uint8)

    @property
    def is_cuda(self) -> bool:
        """Whether `data` is on the GPU."""
        return self.data.is_cuda

    def is_pinned(self) -> bool:
        """Whether `data` is in pinned memory."""
        return self.data.is_pinned()


def invert_permutation(permutation: Tensor | None) -> Tensor | None:
    """The permutation that undoes this one; None for None."""
    return None if permutation is None else argsort(permutation)


def steps_of(batch_sizes: Tensor) -> Steps:
    """What the `batch_sizes` of a PackedSequence say of its rows."""
    return Steps(tuple(batch_sizes.tolist()))


def pack_padded_sequence(
    input: Tensor, lengths: Any, batch_first: bool = False, enforce_sorted: bool = True
) -> PackedSequence:
    """Padded sequences [time, sequence, ...] ([sequence, time, ...] if `batch_first`), of which the first lengths[k]
    elements of sequence k count, packed.

    They must be in order of falling length, or else are sorted by it unless `enforce_sorted`. Lengths are positive, and
    a list or a tensor on the host. Gradients flow through.
    """
    if isinstance(lengths, Tensor) and lengths.device.type != "cpu":
        raise RuntimeError(
            f"'lengths' argument should be a 1D CPU int64 tensor, but got {lengths.ndim}D {lengths.device.type} "
            f"{lengths.dtype.name} tensor"
        )
    values = np.asarray(as_tensor(lengths, device="cpu").tolist(), np.int64)
    order = None
    if values.ndim == 1 and not enforce_sorted:
        rank = np.argsort(-values, kind="stable")
        values, order = values[rank], tensor(rank.tolist(), dtype=dtypes.int64, device=input.device)
        input = index_select(input, 0 if batch_first else 1, order)
    _check_lengths(input, values, batch_first)
    steps = Steps(sizes_of(values.tolist()))
    if int(values[0]) > input.shape[1 if batch_first else 0]:
        raise RuntimeError(
            f"pack_padded_sequence: expected lengths of at most {input.shape[1 if batch_first else 0]}, the length "
            f"that sequences are padded to, got {values[0]}"
        )
    return PackedSequence(packed(input, steps, batch_first), tensor(steps.sizes, device="cpu"), order)


def _check_lengths(input: Tensor, lengths: np.ndarray, batch_first: bool) -> None:
    if not input.numel():
        raise RuntimeError("Cannot pack empty tensors.")
    if lengths.ndim != 1:
        raise RuntimeError(f"'lengths' argument should be a 1D CPU int64 tensor, but got {lengths.ndim}D")
    if len(lengths) != input.shape[0 if batch_first else 1]:
        raise RuntimeError(
            f"Expected `len(lengths)` to be equal to batch_size, but got {len(lengths)} (batch_size="
            f"{input.shape[0 if batch_first else 1]})"
        )
    if (np.diff(lengths) > 0).any():
        raise RuntimeError(
            "`lengths` array must be sorted in decreasing order when `enforce_sorted` is True. You can pass "
            "`enforce_sorted=False` to pack_padded_sequence and/or pack_sequence to sidestep this requirement"
        )
    if lengths[-1] <= 0:
        raise RuntimeError(
            "Length of all samples has to be greater than 0, but found an element in 'lengths' that is <= 0"
        )


def pad_packed_sequence(
    sequence: PackedSequence, batch_first: bool = False, padding_value: float = 0.0, total_length: int | None = None
) -> tuple[Tensor, Tensor]:
    """(padded sequences, their lengths): what `pack_padded_sequence` undoes, in the order in which they were packed.

    Padded with `padding_value` to `total_length`, or the longest. Gradients flow through.
    """
    steps = steps_of(sequence.batch_sizes)
    longest = len(steps.sizes)
    if total_length is not None and total_length < longest:
        raise ValueError(
            f"Expected total_length to be at least the length of the longest sequence in input, but got "
            f"total_length={total_length} and max sequence length being {longest}"
        )
    out = spread(sequence.data, steps, padding_value, total_length or longest, batch_first)
    lengths, order = steps.lengths, sequence.unsorted_indices
    if order is None:
        return out, tensor(lengths, device="cpu")
    back = tensor([lengths[k] for k in order.tolist()], device="cpu")
    return index_select(out, 0 if batch_first else 1, order), back


def pad_sequence(
    sequences: Any, batch_first: bool = False, padding_value: float = 0.0, padding_side: str = "right"
) -> Tensor:
    """Sequences [length, ...] padded to the longest and stacked: [time, sequence, ...], or [sequence, time, ...] if
    `batch_first`. Padding stands on the "right", after a sequence, or on the "left". Gradients flow through."""
    if not isinstance(sequences, Iterable):
        raise RuntimeError(
            f"pad_sequence: Expected iterable for input sequences, but got arg of type: {type(sequences)}"
        )
    given = list(sequences)
    if not given:
        raise RuntimeError("received an empty list of sequences")
    if padding_side not in ("left", "right"):
        raise RuntimeError(f"Expected padding_side to be one of left or right, but got {padding_side}.")
    rest = given[0].shape[1:]
    for s in given:
        if s.ndim == 0 or s.shape[1:] != rest:
            raise RuntimeError(
                f"pad_sequence: sequences must agree in all but their first extent, got {list(given[0].shape)} and "
                f"{list(s.shape)}"
            )
    return padded(given, batch_first, padding_value, padding_side == "left")


def unpad_sequence(padded_sequences: Tensor, lengths: Any, batch_first: bool = False) -> list[Tensor]:
    """The sequences that `pad_sequence` padded on the right, given their lengths."""
    by_sequence = padded_sequences if batch_first else movedim(padded_sequences, 1, 0)
    counts = lengths.tolist() if isinstance(lengths, Tensor) else list(lengths)
    if len(counts) != by_sequence.shape[0]:
        raise ValueError(f"unpad_sequence: got {by_sequence.shape[0]} sequences and {len(counts)} lengths")
    longest = by_sequence.shape[1]
    return [narrow(s, 0, 0, max(0, min(n, longest))) for s, n in zip(by_sequence, counts, strict=True)]


def pack_sequence(sequences: Sequence[Tensor], enforce_sorted: bool = True) -> PackedSequence:
    """Sequences [length, ...] packed: in order of falling length, unless not `enforce_sorted`."""
    given = list(sequences)
    return pack_padded_sequence(pad_sequence(given), [s.size(0) for s in given], enforce_sorted=enforce_sorted)


def unpack_sequence(packed_sequences: PackedSequence) -> list[Tensor]:
    """The sequences that `pack_sequence` packed."""
    return unpad_sequence(*pad_packed_sequence(packed_sequences, batch_first=True), batch_first=True)
