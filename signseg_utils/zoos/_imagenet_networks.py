"""The networks of the paper: architecture, file, published accuracy.

``file`` is a name in `signseg_utils.files.sources`. Accuracies (top-1, top-5; share of the 50,000
validation images) are the publishers': torchvision's model pages; Salman et al. 2020; the
repositories of SimSiam and of the semi-supervised models. ``None``: not published.
"""

from typing import Any

_RESNET50: dict[str, Any] = {"source": "torchvision", "arch": "resnet50"}

STANDARD: dict[str, dict[str, Any]] = {
    "alexnet": dict(
        source="torchvision",
        arch="alexnet",
        file="alexnet-owt-7be5be79.pth",
        accuracy=(0.56522, 0.79066),
    ),
    "vgg16": dict(
        source="torchvision",
        arch="vgg16",
        file="vgg16-397923af.pth",
        accuracy=(0.71592, 0.90382),
    ),
    "resnet50": dict(_RESNET50, file="resnet50-0676ba61.pth", accuracy=(0.76130, 0.92862)),
}

_ROBUST = {"0.5": 0.7373, "1.0": 0.7205, "2.0": 0.6910, "4.0": 0.6386, "8.0": 0.5453}

FAMILIES: dict[str, dict[str, dict[str, Any]]] = {
    "robust": {
        f"resnet50-linf-{float(epsilon):g}": dict(
            source="robust", arch="resnet50", file=f"resnet50_linf_eps{epsilon}.ckpt",
            accuracy=(top1, None), epsilon=float(epsilon) / 255,
        )
        for epsilon, top1 in _ROBUST.items()
    },
    "activations": {
        "resnet18-relu": dict(
            source="torchvision", arch="resnet18", file="resnet18-f37072fd.pth",
            accuracy=(0.69758, 0.89078),
        ),
        "resnet18-tanh": dict(
            source="torchvision", arch="resnet18", activation="tanh", file="resnet18-tanh.pth",
            accuracy=(None, None),
        ),
    },
    "selfsupervised": {
        "resnet50-simsiam": dict(
            source="simsiam", arch="resnet50", file="simsiam-100ep-256bs-linear.pth.tar",
            accuracy=(0.683, None),
        ),
    },
    "semisupervised": {
        "resnet50-semi": dict(
            _RESNET50, file="semi_supervised_resnet50-08389792.pth", accuracy=(0.792, 0.949)
        ),
        "resnet50-semiweak": dict(
            _RESNET50, file="semi_weakly_supervised_resnet50-16a12f1b.pth",
            accuracy=(0.812, 0.960),
        ),
    },
}  # fmt: skip

# Appendix A.1: the ensemble whose features say how alike images are.
JUDGES = ("alexnet", "resnet50", *FAMILIES["robust"])
