"""LoRA and the other weight updates that the ``peft`` library has, on the linear layers of a transformer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from torch import Tensor, nn

from whenwhere.adapt.adapted import Adapted
from whenwhere.adapt.anatomy import anatomy, sharing
from whenwhere.backbones.vision import Backbone
from whenwhere.errors import InputError, MissingDependency

KINDS = ("LORA", "IA3", "LOHA", "LOKR", "OFT", "BOFT", "HRA", "VERA", "RANDLORA", "FOURIERFT", "C3A", "MISS", "SHIRA")
LAYERS = ("query", "key", "value", "out", "mlp.in", "mlp.out")


@dataclass(frozen=True)
class PeftSettings:
    """What a tuner of ``peft`` is told.

    Args:
        kind: a tuner of ``peft`` for linear layers, one of :data:`KINDS`.
        layers: the linear layers it changes in every block, out of query, key, value, out (of attention), mlp.in and
            mlp.out. Where one layer gives query, key and value together, it stands for each of the three.
        options: further fields of the tuner's own config, by name.
    """

    kind: str = "OFT"
    layers: tuple[str, ...] = ("query", "value")
    options: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise InputError(f"peft tuner {self.kind!r}", f"one of {', '.join(KINDS)}")
        unknown = [layer for layer in self.layers if layer not in LAYERS]
        if unknown or not self.layers:
            raise InputError(f"layers {list(self.layers)}", f"some of {', '.join(LAYERS)}")


class PeftAdapted(Adapted):
    """Any tuner of ``peft`` for linear layers, put into a twin of the backbone that shares its weights.

    Raises:
        InputError: a CNN, a layer or tuner that does not exist, or options that the tuner refuses.
        MissingDependency: ``peft`` is not installed.
    """

    method = "peft"
    transformers_only = True
    Config: ClassVar[type] = PeftSettings

    def __init__(self, backbone: Backbone, labels: Sequence[str], config: Any = None) -> None:
        super().__init__(backbone, labels, config)
        settings = self._settings()
        names = _linear_layers(backbone, settings.layers)
        peft = _peft()
        tuner = peft.PEFT_TYPE_TO_CONFIG_MAPPING[settings.kind]
        options = dict(settings.options)
        if settings.kind == "IA3":  # it rescales what goes into an MLP's layer, and what comes out of the others
            options.setdefault("feedforward_modules", [name for name in names if ".mlp." in name])
        twin, frozen = sharing(backbone), {id(parameter) for parameter in backbone.parameters()}
        try:
            tuned = peft.get_peft_model(twin, tuner(target_modules=names, **options))
        except (TypeError, ValueError) as error:
            raise InputError(f"peft refuses {settings}: {error}", f"options of its {tuner.__name__}") from None
        self.updates = nn.ParameterDict(
            {
                name.replace(".", "/"): parameter  # names of parameters may hold no dot
                for name, parameter in tuned.named_parameters()
                if parameter.requires_grad and id(parameter) not in frozen
            }
        )
        self.__dict__["twin"] = twin  # not a submodule: the frozen rest is not this module's

    twin: Backbone

    def _settings(self) -> PeftSettings:
        return self.config

    def vector(self, pixels: Tensor) -> Tensor:
        return self.twin.pooled(pixels)

    def train(self, mode: bool = True) -> PeftAdapted:
        """Dropout of the tuner follows; the backbone's own stays off."""
        super().train(mode)
        for module in self.twin.modules():
            if hasattr(module, "adapter_layer_names"):  # peft's own mark of a layer that it wrapped
                module.train(mode)
        return self


@dataclass(frozen=True)
class LoraConfig:
    """Low-rank updates.

    Args:
        rank: r of the update B A.
        alpha: the update is scaled by alpha / rank.
        dropout: of the update's input, in training.
        layers: as in :class:`PeftSettings`.
    """

    rank: int = 8
    alpha: float = 8.0
    dropout: float = 0.0
    layers: tuple[str, ...] = ("query", "value")


class Lora(PeftAdapted):
    """LoRA (Hu et al., ICLR 2022): ``W + alpha / r B A`` with B = 0 at the start, by default on query and value.

    A fused query-key-value layer gets one update of rank r as a whole; that has the same number of weights as two
    updates of rank r on query and value.
    """

    method = "lora"
    Config: ClassVar[type] = LoraConfig

    def _settings(self) -> PeftSettings:
        c = self.config
        options = {"r": c.rank, "lora_alpha": c.alpha, "lora_dropout": c.dropout, "bias": "none"}
        return PeftSettings("LORA", c.layers, options)


def _linear_layers(backbone: Backbone, layers: Sequence[str]) -> list[str]:
    names = []
    for part in anatomy(backbone).sublayers:
        for role, name in part.linears.items():
            wanted = (
                {"query", "key", "value"} if role == "qkv" else {role if part.kind == "attention" else f"mlp.{role}"}
            )
            if wanted & set(layers):
                names.append(name)
    return names


def _peft() -> Any:
    try:
        import peft
    except ImportError:
        raise MissingDependency(
            "peft is not installed", "it for LoRA and its kin", "run: pip install 'whenwhere[adapt]'"
        ) from None
    return peft
