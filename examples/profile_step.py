"""Where a training step spends its time and memory.

python examples/profile_step.py                                    # a small network, run where we are
python examples/profile_step.py --model resnet50 --batch 256 --image 224 --dry    # nothing runs: modelled for an H200
python examples/profile_step.py --trace step.json.gz               # also a timeline, to be opened in ui.perfetto.dev
"""

import argparse

import tritongrad as tg
from tritongrad import models, nn
from tritongrad.profiler import ProfilerAction, profile, record_function

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--model", default="small", help="small, or any of tritongrad.models, such as resnet18")
parser.add_argument("--batch", type=int, default=4)
parser.add_argument("--image", type=int, default=16, help="side in pixels")
parser.add_argument("--gpu", help="whose ceilings to hold launches against; default that at hand, else H200")
parser.add_argument("--dry", action="store_true", help="run nothing and allocate nothing")
parser.add_argument("--rows", type=int, default=12, help="rows of each table")
parser.add_argument("--trace", help="a file for the timeline")
args = parser.parse_args()


def network() -> nn.Module:
    if args.model != "small":
        return getattr(models, args.model)(num_classes=10)
    body = [nn.Conv2d(3, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(2)]
    return nn.Sequential(*body, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 10))


def one_step_of_two(step: int) -> ProfilerAction:
    """The second, when the optimizer has its state and every kernel is compiled."""
    return ProfilerAction.RECORD_AND_SAVE if step == 1 else ProfilerAction.NONE


with profile(schedule=one_step_of_two, gpu=args.gpu, dry_run=args.dry) as p:
    model = network().to(memory_format=tg.channels_last)
    optimizer = tg.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    images = tg.rand(args.batch, 3, args.image, args.image).contiguous(memory_format=tg.channels_last)
    labels = tg.randint(0, 10, (args.batch,))
    for _ in range(2):
        with record_function("forward"):
            loss = nn.functional.cross_entropy(model(images), labels)
        with record_function("backward"):
            loss.backward()
        with record_function("update"):
            optimizer.step()
            optimizer.zero_grad()
        p.step()

print(p.key_averages().table(row_limit=args.rows, header=f"By operation: {args.model}, batch {args.batch}"))
print(p.key_averages(by="module").table(row_limit=args.rows, header="By module"))
if args.trace:
    p.export_chrome_trace(args.trace)
    print(f"timeline in {args.trace}: open it in ui.perfetto.dev")
