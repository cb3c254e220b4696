"""Launches straight to the driver, of kernels that Triton has launched for such arguments before.

Triton's public call, `kernel[grid](...)`, binds and specialises its arguments, writes the options into a string, looks
the compiled kernel up and asks for hooks: some ten microseconds of Python at every launch. So `launch` tells `learn`
which compiled kernel Triton took, and asks `start` before it asks Triton again. Here nothing is ever compiled.

A launch is known by all that Triton may compile differently for: the kernel, the options that are given, the Python
type of each value, the device, and

    an array        its dtype, and whether it starts on 16 bytes
    a descriptor    its dtype and its block
    an integer      whether it is 1, whether 16 divides it, and how many bits hold it; a tuple, that of each of it
    a float         nothing more
    anything else   its value: constexprs, options, bools, strings, None; of dtypes and jit functions the object

Arrays go to the driver as addresses, descriptors as the tensor maps they were encoded into the first time.

What is not understood is left to Triton: a launcher that is not in `triton_launcher`, arguments of other types, memory
of the host, globals that have changed, hooks and knobs that somebody set. (Those set by variables of the environment
are taken as they were when the kernel was launched first.) With TRITONGRAD_DIRECT=0 in the environment all is.

Source: `JITFunction.run` in triton/runtime/jit.py.
"""

from __future__ import annotations

import marshal
import os
from collections.abc import Mapping, Sequence
from operator import itemgetter
from typing import Any

import triton.language as tl
from triton import JITFunction, knobs

import tritongrad_kernels
from tritongrad_kernels import driver, memory, triton_launcher
from tritongrad_kernels.array import Array
from tritongrad_kernels.descriptors import Descriptor
from tritongrad_kernels.triton_launcher import Again

available = (
    triton_launcher.KNOWN
    and not tritongrad_kernels.INTERPRETED
    and os.environ.get("TRITONGRAD_DIRECT", "1") not in ("", "0")
)
"""Whether anything is started here."""

_BY_VALUE = frozenset({int, bool, str, type(None), tuple})
_BY_IDENTITY = frozenset({JITFunction, tl.dtype})  # whose own hashes are slow
_PADDING = ((), (1, 1), (1,), ())
_KEPT = 1 << 10  # values that a site remembers
if available:
    _enter, _exit = knobs.runtime.launch_enter_hook, knobs.runtime.launch_exit_hook
    _set, _set_for_compiling = vars(knobs.runtime), vars(knobs.compilation)  # by somebody, beside the environment


def classify(value: Any) -> Any:
    """What Triton may compile differently for in an integer, or in each of a tuple."""
    if type(value) is tuple:
        return tuple(map(classify, value))
    if type(value) is not int:
        return type(value), value
    return value == 1, value % 16 == 0, -(2**31) <= value < 2**31, value < 2**63


def _plain(value: Any) -> bool:
    """Whether a tuple holds nothing but integers, None and such tuples."""
    return type(value) is not tuple or all(type(v) in (int, type(None), tuple) and _plain(v) for v in value)


class _Site:
    """Launches of one kernel with arguments of the same types: the positions of what is known by what.

    arrays      have an address; `boxes` are the descriptors among them
    numbers     are known by their class, `floats` by being there, `things` by their identity
    tuples      gives all tuples
    compiled    what was launched, by what Triton compiles for; `seen` by the very values
    """

    __slots__ = ("arrays", "boxes", "compiled", "floats", "kernel", "numbers", "seen", "things", "tuples")

    def __init__(self, kernel: Any, args: Sequence[Any]) -> None:
        def of(*kinds: type) -> list[int]:
            return [i for i, a in enumerate(args) if type(a) in kinds]

        self.kernel = kernel  # kept, because a site is found by its identity
        self.arrays, self.boxes = of(Array, Descriptor), of(Descriptor)
        self.numbers = [i for i in of(int, tuple) if not kernel.params[i].is_constexpr]
        self.floats, self.things = of(float), of(*_BY_IDENTITY)
        tuples = of(tuple)
        self.tuples = itemgetter(*tuples, tuples[0]) if tuples else None
        self.compiled: dict[Any, Again] = {}
        self.seen: dict[Any, Again] = {}


def _understood(kernel: Any, args: Sequence[Any], options: Mapping[str, Any]) -> bool:
    """Whether all of a launch is of the kinds above, all parameters are given, and those by name are constexprs."""
    if not isinstance(kernel, JITFunction) or not any(type(a) in (Array, Descriptor) for a in args):
        return False
    given, named = kernel.params[: len(args)], kernel.params[len(args) :]
    return (
        all(p.name in options and p.is_constexpr for p in named)
        and all(type(value) in _BY_VALUE for value in options.values())
        and all(
            type(a) in _BY_VALUE | _BY_IDENTITY or (type(a) in (Array, Descriptor, float) and not p.is_constexpr)
            for p, a in zip(given, args, strict=True)
        )
    )


_sites: dict[Any, _Site | None] = {}


def start(kernel: Any, grid: tuple[int, ...], args: tuple[Any, ...], options: Mapping[str, Any]) -> bool:
    """Start `kernel` if it was launched for such arguments before; False where Triton has to be asked.

    To be called with `driver.lock` held. What is pending about the arrays is settled.
    """
    site = _sites.get((id(kernel), *options, *map(type, args)))
    if (
        site is None
        or kernel.pre_run_hooks
        or _enter.calls
        or _exit.calls
        or _set
        or _set_for_compiling
        or memory.in_dry_run()
    ):
        return False
    given = [*args]
    key = _key(site, args, options, given)
    again = site.seen.get(key) or _recalled(site, key)
    if again is None:
        return False
    for space, name, value in again.globals:
        if space.get(name) is not value:
            return False
    if site.boxes:
        again.put_maps(site.boxes, args, given)
    given += again.constants
    index = key[-1]
    told = (*grid, *_PADDING[len(grid)], again.stream(index), *again.head, *(given if again.one_by_one else (given,)))
    if index:
        with driver.on_device(driver.Device("cuda", index)):
            again.launch(*told)
    else:
        again.launch(*told)
    return True


def learn(kernel: Any, args: tuple[Any, ...], options: Mapping[str, Any], compiled: Any) -> None:
    """Triton has launched `kernel` for these arguments as `compiled`. With `driver.lock` held."""
    if not all(map(_plain, args)):
        return
    name = (id(kernel), *options, *map(type, args))
    if name not in _sites:
        _sites[name] = _Site(kernel, args) if _understood(kernel, args, options) else None
    site = _sites[name]
    key = None if site is None else _by_class(site, _key(site, args, options, [*args]))
    if site is None or key is None or key in site.compiled:
        return
    constants = [options[p.name] for p in kernel.params[len(args) :]]
    again = triton_launcher.again(kernel, compiled, len(site.boxes), constants, [args[i] for i in site.things])
    if again is None:
        _sites[name] = None
    else:
        site.compiled[key] = again


def _key(site: _Site, args: tuple[Any, ...], options: Mapping[str, Any], given: list[Any]) -> Any:
    """The arguments as they are known, options, types in tuples, alignment, device; puts addresses into `given`.

    None for arrays that are not together on a GPU, and tuples of anything.
    """
    key = [*args, *options.values()]
    for i in site.boxes:
        key.append(key[i].block)
        key[i] = key[i].array
    device: Any = None
    low = 0
    for i in site.arrays:
        array = key[i]
        block = array.memory
        if block.pending is not None:
            block.settle()
            return None if block.pending is not None else _key(site, args, options, given)
        if block.device is not device:
            if device is not None and block.device != device:
                return None
            device = block.device
        key[i] = kind = array.dtype
        given[i] = address = block.address + array.offset * kind.itemsize
        low |= address
    if device.type != "cuda":
        return None
    for i in site.floats:
        key[i] = None
    for i in site.things:
        key[i] = id(key[i])
    try:
        key.append(site.tuples and marshal.dumps(site.tuples(args), 2))  # tells 1 from True and 1.0, which equal it
    except ValueError:
        return None
    key.append(tuple([given[i] & 15 == 0 for i in site.arrays]) if low & 15 else None)
    key.append(device.index)
    return tuple(key)


def _recalled(site: _Site, key: Any) -> Again | None:
    """What was compiled for such values, if not for these; from now on known by these too."""
    found = site.compiled.get(_by_class(site, key))
    if found is not None:
        if len(site.seen) >= _KEPT:
            site.seen.clear()
        site.seen[key] = found
    return found


def _by_class(site: _Site, key: Any) -> Any:
    """The key with the class of each number instead of its value."""
    if key is None:
        return None
    by_class = [*key]
    by_class[-3] = None
    for i in site.numbers:
        by_class[i] = classify(by_class[i])
    return tuple(by_class)
