"""Image transforms by the names of `torchvision.transforms`, for Pillow images and tensors [..., C, H, W].

Random ones draw from this thread's generator: `tritongrad.manual_seed` decides what they do, and in a dataset the
loader's seeds, so that augmented batches repeat whatever the number of workers. Pillow is wanted only where an image is
one: `pip install "tritongrad[data]"`.
"""

from tritongrad.transforms import functional as functional
from tritongrad.transforms.autoaugment import (
    AutoAugment as AutoAugment,
    AutoAugmentPolicy as AutoAugmentPolicy,
    RandAugment as RandAugment,
    TrivialAugmentWide as TrivialAugmentWide,
)
from tritongrad.transforms.coloring import (
    ColorJitter as ColorJitter,
    GaussianBlur as GaussianBlur,
    Grayscale as Grayscale,
    RandomAdjustSharpness as RandomAdjustSharpness,
    RandomAutocontrast as RandomAutocontrast,
    RandomEqualize as RandomEqualize,
    RandomGrayscale as RandomGrayscale,
    RandomInvert as RandomInvert,
    RandomPosterize as RandomPosterize,
    RandomSolarize as RandomSolarize,
)
from tritongrad.transforms.compose import (
    Compose as Compose,
    Lambda as Lambda,
    RandomApply as RandomApply,
    RandomChoice as RandomChoice,
    RandomOrder as RandomOrder,
)
from tritongrad.transforms.convert import (
    ConvertImageDtype as ConvertImageDtype,
    LinearTransformation as LinearTransformation,
    Normalize as Normalize,
    PILToTensor as PILToTensor,
    RandomErasing as RandomErasing,
    ToPILImage as ToPILImage,
    ToTensor as ToTensor,
)
from tritongrad.transforms.image import (
    InterpolationMode as InterpolationMode,
)
from tritongrad.transforms.shapes import (
    CenterCrop as CenterCrop,
    FiveCrop as FiveCrop,
    Pad as Pad,
    RandomCrop as RandomCrop,
    RandomHorizontalFlip as RandomHorizontalFlip,
    RandomResizedCrop as RandomResizedCrop,
    RandomVerticalFlip as RandomVerticalFlip,
    Resize as Resize,
    TenCrop as TenCrop,
)
from tritongrad.transforms.warps import (
    RandomAffine as RandomAffine,
    RandomPerspective as RandomPerspective,
    RandomRotation as RandomRotation,
)
