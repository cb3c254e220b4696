"""torch.autograd.profiler's names, for programs of before torch.profiler."""

from __future__ import annotations

from tritongrad import profiler
from tritongrad.profiler import EventList as EventList, record_function as record_function


class profile(profiler.profile):
    """`tritongrad.profiler.profile` by its older name and options; nothing is recorded unless `enabled`."""

    def __init__(
        self,
        enabled: bool = True,
        *,
        use_cuda: bool = False,
        use_device: str | None = None,
        record_shapes: bool = False,
        with_flops: bool = False,
        profile_memory: bool = False,
        with_stack: bool = False,
        with_modules: bool = False,
        acc_events: bool = False,
    ) -> None:
        super().__init__(
            record_shapes=record_shapes, profile_memory=profile_memory, with_stack=with_stack, acc_events=acc_events
        )
        self.enabled = enabled

    def start(self) -> None:
        if self.enabled:
            super().start()
