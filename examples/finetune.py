"""Fine-tuning: freeze a network, give it a new last layer of 10 classes, and train that layer alone.

python examples/finetune.py                      # on random features, which suffice to tell the images below apart
python examples/finetune.py --weights DEFAULT    # on torchvision's, fetched once; or the path of a file
"""

import argparse

import tritongrad as tg
from tritongrad import nn
from tritongrad.models import resnet18

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--weights", help="a .safetensors or .pth file, or a name from ResNet18_Weights; default random")
parser.add_argument("--steps", type=int, default=6)
parser.add_argument("--seed", type=int, default=0)
args = parser.parse_args()
tg.manual_seed(args.seed)

model = resnet18(weights=args.weights)
for param in model.parameters():
    param.requires_grad = False
model.fc = nn.Linear(512, 10)  # new parameters, which want gradients

# Ten classes: a pattern each, seen through noise that is never the same twice.
labels = tg.arange(10)
patterns = tg.rand(10, 3, 32, 32)


def noisy() -> tg.Tensor:
    return patterns + 0.05 * tg.randn(10, 3, 32, 32)


before = {name: param.detach().clone() for name, param in model.named_parameters()}
criterion = nn.CrossEntropyLoss()
optimizer = tg.optim.SGD(model.parameters(), lr=2e-2, momentum=0.9)  # skips parameters that have no gradient
for step in range(args.steps):
    optimizer.zero_grad()
    loss = criterion(model(noisy()), labels)
    loss.backward()
    optimizer.step()
    print(f"step {step + 1:2d}  loss {loss.item():.4f}", flush=True)

with tg.no_grad():
    right = (model(noisy()).argmax(1) == labels).sum().item()
changed = [name for name, param in model.named_parameters() if not tg.equal(param, before[name])]
print(f"{right} of 10 new images recognised")
print(f"changed: {', '.join(changed)}; the other {len(before) - len(changed)} parameters are as they were, bit for bit")
