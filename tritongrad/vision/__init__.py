"""The names of torchvision: `transforms`, `datasets`, `models` and `utils`.

Scripts that say `from torchvision import transforms` say `from tritongrad.vision import transforms` here.
"""

import sys

from tritongrad import models as models, transforms as transforms
from tritongrad.vision import datasets as datasets, utils as utils

# Importable under their torchvision paths, while there is one of each.
for _name, _module in (
    ("models", models),
    ("transforms", transforms),
    ("transforms.functional", transforms.functional),
):
    sys.modules[f"{__name__}.{_name}"] = _module
