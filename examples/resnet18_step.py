"""One training step of ResNet-18: prediction, loss, gradients, update, and the loss that the update leads to.

python examples/resnet18_step.py
python examples/resnet18_step.py --weights DEFAULT    # torchvision's, fetched once; or the path of a file
"""

import argparse
import time
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def timed(part: str) -> Iterator[None]:
    start = time.perf_counter()
    yield
    print(f"{part:<10}{time.perf_counter() - start:6.2f} s")


parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--weights", help="a .safetensors or .pth file, or a name from ResNet18_Weights; default random")
parser.add_argument("--seed", type=int, default=0)
args = parser.parse_args()

with timed("import"):
    import tritongrad as tg
    from tritongrad.models import resnet18

tg.manual_seed(args.seed)
with timed("model"):
    model = resnet18(weights=args.weights)
data = tg.rand(1, 3, 64, 64)
labels = tg.rand(1, 1000)

with timed("forward"):
    prediction = model(data)
    loss = (prediction - labels).sum()
    before = loss.item()  # on a GPU this waits for the result
with timed("backward"):
    loss.backward()
    tg.cuda.synchronize()

optim = tg.optim.SGD(model.parameters(), lr=1e-2, momentum=0.9)
with timed("step"):
    optim.step()
    tg.cuda.synchronize()

with tg.no_grad():
    after = (model(data) - labels).sum().item()
print(f"loss {before:.2f} -> {after:.2f}  (a sum without a square: it has no lower bound)")
