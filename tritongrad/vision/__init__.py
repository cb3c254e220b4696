"""The names of torchvision: `transforms`, `datasets`, `models`, `ops` and `utils`.

Scripts that say `from torchvision import transforms` say `from tritongrad.vision import transforms` here.
"""

import sys

from tritongrad import models as models, transforms as transforms
from tritongrad.vision import datasets as datasets, ops as ops, utils as utils

# Importable under their torchvision paths, with all below them, while there is one of each.
for _name, _module in list(sys.modules.items()):
    if _name.startswith(("tritongrad.models", "tritongrad.transforms")):
        sys.modules[_name.replace("tritongrad", __name__, 1)] = _module
