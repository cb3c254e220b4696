"""The operations of `views`, `slicing`, `joining`, `layout` and `indexing`, while importers move to these."""

from tritongrad.ops.indexing import getitem as getitem, setitem as setitem
from tritongrad.ops.joining import cat as cat, flip as flip, stack as stack
from tritongrad.ops.layout import (
    cast as cast,
    clone as clone,
    contiguous as contiguous,
    move as move,
    to as to,
    to_same_device as to_same_device,
)
from tritongrad.ops.slicing import (
    chunk as chunk,
    narrow as narrow,
    select as select,
    split as split,
    unbind as unbind,
)
from tritongrad.ops.views import (
    broadcast_to as broadcast_to,
    expand as expand,
    expand_as as expand_as,
    flatten as flatten,
    permute as permute,
    reshape as reshape,
    shape_of as shape_of,
    squeeze as squeeze,
    sum_to_size as sum_to_size,
    t as t,
    transpose as transpose,
    unsqueeze as unsqueeze,
    view as view,
    view_as as view_as,
)
