"""`torch.utils.data._utils.collate` by its usual name."""

from tritongrad.data import (
    collate as collate,
    default_collate as default_collate,
    default_collate_fn_map as default_collate_fn_map,
    default_convert as default_convert,
)
