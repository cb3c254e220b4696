"""What scripts take from behind torch's loader."""

from tritongrad.utils.data._utils import collate as collate, worker as worker
