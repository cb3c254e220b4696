"""torch.profiler's names: what a program launches, who asked for it, how long it takes and what memory it holds.

    with tg.profiler.profile() as p:
        train_step(images, labels)
    print(p.key_averages().table(sort_by="cuda_time_total", row_limit=20))
    print(p.key_averages(by="module").table())
    p.export_chrome_trace("step.json")  # for ui.perfetto.dev

Each launch has the operation a user called ("conv2d"), or, in backward, its node ("ConvolutionBackward0"); the module,
by its dotted name in the outermost one called; the kernel and its grid; the bytes and flops it declares. A launch that
waited to be joined to others belongs to who asked for it: "batch_norm+add+relu".

**Time.** On a GPU it is that between two CUDA events around the launch, read after one synchronisation at the end;
where the GPU has nothing to do before, that includes the time the host takes to start the kernel. Without a GPU, and
in a dry run, it is modelled: the least that a GPU (H200, or `gpu=`) takes by its ceilings. Tables and traces say which.
The share of the roofline is that least time over the measured one. Host time of a launch goes from what its thread did
before (a launch, a module or a label that began or ended) to its end, without the time the interpreter runs.

**Memory** is what tritongrad took for tensors, to the byte; in a dry run, in blocks of 512. In tables, "allocated" is
what a thread took since the launch before.

**Cost.** Profiled, a step takes the host about half as long again, which the host times shown include. Unprofiled, a
launch, a call of a module, an operation recorded, an allocation each look at one name, which is None. A profile begins
with a walk over all objects for tensors that are there (unless profile_memory=False), and begins and ends by waiting
for the GPU and having all launches that wait run. A replay of a captured graph is one launch, of all that is in it.
"""

from tritongrad.profiler.events import Average as Average, Event as Event
from tritongrad.profiler.labels import record_function as record_function
from tritongrad.profiler.profile import (
    profile as profile,
    tensorboard_trace_handler as tensorboard_trace_handler,
)
from tritongrad.profiler.schedule import (
    ProfilerAction as ProfilerAction,
    ProfilerActivity as ProfilerActivity,
    schedule as schedule,
    supported_activities as supported_activities,
)
from tritongrad.profiler.table import EventList as EventList
