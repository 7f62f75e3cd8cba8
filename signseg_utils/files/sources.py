"""Files that others publish and this project reads: where, with which hash, under which terms.

``hash`` is the whole SHA-256 (or MD5) where one is published. The first eight hexadecimal digits
of the SHA-256 stand in the names of the files of torchvision and of the semi-supervised networks;
these digits are compared too. Where nothing is published the hash is ``None``. What a publisher
leaves open is recorded at the first download and enforced from then on.

No file is passed on with this project; each keeps its own terms, listed here:

==========================================  =====================================================
files                                       terms
==========================================  =====================================================
``tiny-imagenet-200.zip``                   research use; images from ImageNet
``alexnet``, ``vgg16``, ``resnet*``         torchvision, BSD-3-Clause; trained on ImageNet, whose
                                            terms allow non-commercial research and education
``resnet50_linf_eps*.ckpt``                 MIT (Salman et al. 2020, arXiv:2007.08489)
``simsiam-*``                               CC-BY-NC-4.0 (Chen & He 2021, arXiv:2011.10566)
``semi_*supervised_resnet50*``              CC-BY-NC-4.0 (Yalniz et al. 2019, arXiv:1905.00546)
``upconvGAN_fc6.pt``                        research use (Dosovitskiy & Brox 2016,
                                            arXiv:1602.02644)
``biggan-deep-256-*``                       MIT code; weights of TensorFlow Hub, Apache-2.0
                                            (Brock et al. 2019, arXiv:1809.11096)
``yolo11m.pt``                              AGPL-3.0 (ultralytics)
==========================================  =====================================================
"""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Remote:
    """One file that others publish.

    Attributes
    ----------
    url
        Where it lies; empty where nobody publishes it and it has to be made.
    hash
        ``"sha256:..."`` or ``"md5:..."`` as published, whole or its first digits; ``None`` where
        none is.
    size
        In bytes; ``None`` where not known.
    licence
        Terms of use, shown before the download.
    """

    url: str
    hash: str | None
    size: int | None
    licence: str


_TORCHVISION = "https://download.pytorch.org/models/"
_FACEBOOK = "https://dl.fbaipublicfiles.com/"
_MADRY = "https://huggingface.co/madrylab/robust-imagenet-models/resolve/main/"
_BIGGAN = "https://s3.amazonaws.com/models.huggingface.co/biggan/"
_IMAGENET = "BSD-3-Clause; trained on ImageNet: non-commercial research and education"
_NON_COMMERCIAL = "CC-BY-NC-4.0"


def _torchvision(name: str) -> Remote:
    digits = name.removesuffix(".pth").rpartition("-")[2]
    return Remote(_TORCHVISION + name, f"sha256:{digits}", None, _IMAGENET)


def _semi_supervised(name: str) -> Remote:
    digits = name.removesuffix(".pth").rpartition("-")[2]
    url = f"{_FACEBOOK}semiweaksupervision/model_files/{name}"
    return Remote(url, f"sha256:{digits}", None, _NON_COMMERCIAL)


def _robust(epsilon: str) -> Remote:
    known = {"4.0": "sha256:9e62216975c111b8081481533b6142dec34be69abe5d90b54d7f860015c263db"}
    size = 204_818_947 if epsilon == "4.0" else None
    return Remote(f"{_MADRY}resnet50_linf_eps{epsilon}.ckpt", known.get(epsilon), size, "MIT")


REGISTRY: Mapping[str, Remote] = {
    "tiny-imagenet-200.zip": Remote(
        url="http://cs231n.stanford.edu/tiny-imagenet-200.zip",
        hash="md5:90528d7ca1a48142e341f4ef8d21d0de",
        size=248_100_043,
        licence="research use; images from ImageNet (https://image-net.org/download.php)",
    ),
    **{
        name: _torchvision(name)
        for name in (
            "alexnet-owt-7be5be79.pth", "vgg16-397923af.pth", "resnet50-0676ba61.pth",
            "resnet18-f37072fd.pth",
        )
    },
    "resnet18-tanh.pth": Remote("", None, None, "your own"),
    **{f"resnet50_linf_eps{e}.ckpt": _robust(e) for e in ("0.5", "1.0", "2.0", "4.0", "8.0")},
    "simsiam-100ep-256bs-linear.pth.tar": Remote(
        f"{_FACEBOOK}simsiam/models/100ep-256bs/linear/model_best.pth.tar",
        None, None, _NON_COMMERCIAL,
    ),
    **{
        name: _semi_supervised(name)
        for name in (
            "semi_supervised_resnet50-08389792.pth", "semi_weakly_supervised_resnet50-16a12f1b.pth"
        )
    },
    "upconvGAN_fc6.pt": Remote(
        "https://huggingface.co/binxu/DeePSim_DosovitskiyBrox2016/resolve/main/upconvGAN_fc6.pt",
        None, None, "research use",
    ),
    "biggan-deep-256-pytorch_model.bin": Remote(
        f"{_BIGGAN}biggan-deep-256-pytorch_model.bin",
        "sha256:5900ef4065047e3aa0d1b66197b7f2664dceb59b27080e414ad57e203c485bc5",
        234_411_737, "MIT; weights Apache-2.0",
    ),
    "biggan-deep-256-config.json": Remote(
        f"{_BIGGAN}biggan-deep-256-config.json",
        "sha256:edd106f65ff28ee1638491a978cfa6bc50dfa0344aab70749a7b8eb08bbec677",
        None, "MIT",
    ),
    "yolo11m.pt": Remote(
        "https://github.com/ultralytics/assets/releases/download/v8.3.0/yolo11m.pt",
        None, None, "AGPL-3.0",
    ),
}  # fmt: skip
