"""Datasets of images by the names of `torchvision.datasets`, read from the files they are published as.

Images come as Pillow's: `pip install "tritongrad[data]"`.
"""

from tritongrad.vision.datasets.cifar import CIFAR10 as CIFAR10, CIFAR100 as CIFAR100
from tritongrad.vision.datasets.fake import FakeData as FakeData
from tritongrad.vision.datasets.folder import DatasetFolder as DatasetFolder, ImageFolder as ImageFolder
from tritongrad.vision.datasets.mnist import (
    EMNIST as EMNIST,
    KMNIST as KMNIST,
    MNIST as MNIST,
    FashionMNIST as FashionMNIST,
)
from tritongrad.vision.datasets.vision import VisionDataset as VisionDataset
