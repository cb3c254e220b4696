"""Published architectures under their published parameter names."""

from tritongrad.models.resnet import ResNet as ResNet
from tritongrad.models.resnet import ResNet18_Weights as ResNet18_Weights
from tritongrad.models.resnet import ResNet34_Weights as ResNet34_Weights
from tritongrad.models.resnet import ResNet50_Weights as ResNet50_Weights
from tritongrad.models.resnet import ResNet101_Weights as ResNet101_Weights
from tritongrad.models.resnet import ResNet152_Weights as ResNet152_Weights
from tritongrad.models.resnet import resnet18 as resnet18
from tritongrad.models.resnet import resnet34 as resnet34
from tritongrad.models.resnet import resnet50 as resnet50
from tritongrad.models.resnet import resnet101 as resnet101
from tritongrad.models.resnet import resnet152 as resnet152
