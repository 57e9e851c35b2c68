"""Settings of the training of an audio tower."""

from __future__ import annotations

from dataclasses import dataclass, field

from clipx.errors import InputError
from clipx.modalities.audio.labelled import LONGEST_S


@dataclass(frozen=True)
class AudioTrainConfig:
    """How an audio tower is trained."""

    tower: str = field(default="logmel", metadata={"help": "logmel (small), fbsp (AudioCLIP's) or sfx (pretrained)"})
    epochs: int = field(default=160, metadata={"help": "passes over the training set"})
    batch_size: int = field(default=32, metadata={"help": "sounds a step"})
    lr: float = field(default=2e-3, metadata={"help": "peak learning rate"})
    weight_decay: float = field(default=0.05, metadata={"help": "of kernels, not of gains, scales and the filter bank"})
    ridge: float = field(default=0.05, metadata={"help": "shrinkage of the last layer's refit, see refit_last"})
    mixed_precision: str = field(default="no", metadata={"help": "no or bf16: half the time where a processor has it"})
    crop_s: float = field(default=5.0, metadata={"help": "seconds of sound in training, and a window's afterwards"})
    mixup: float = field(default=0.5, metadata={"help": "share of sounds that are mixed with another"})
    mask_bins: int = field(default=8, metadata={"help": "widest masked band of mels (logmel only)"})
    mask_frames: int = field(default=25, metadata={"help": "longest masked stretch of frames (logmel only)"})
    learn_front_end: bool = field(default=True, metadata={"help": "whether fbsp's filters learn"})
    synthetic: float = field(default=0.0, metadata={"help": "share of a batch that is synthesised"})
    synthetic_count: int = field(default=24, metadata={"help": "synthetic sounds a label, if any"})
    speed: float = field(default=1.25, metadata={"help": "largest factor of the speed"})
    seed: int = field(default=0, metadata={"help": "seed of weights, batches and augmentations"})

    def __post_init__(self):
        if min(self.epochs, self.batch_size, self.synthetic_count) < 1 or not self.lr > 0:
            raise InputError("epochs, batch_size and synthetic_count must be at least 1 and lr above 0")
        if self.mixed_precision not in ("no", "bf16") or not self.ridge > 0:
            raise InputError("mixed_precision must be no or bf16, and ridge above 0")
        made = round(self.synthetic * self.batch_size)
        if not 0 <= self.synthetic < 1 or (self.synthetic and not 1 <= made < self.batch_size):
            what = (
                f"synthetic must be 0 to 1 and leave both kinds in a batch of {self.batch_size}, got {self.synthetic}"
            )
            raise InputError(what)
        if self.tower == "fbsp" and self.batch_size < 2:
            raise InputError("fbsp needs a batch_size of at least 2")
        if not (0.1 <= self.crop_s <= LONGEST_S and 0 <= self.mixup <= 1 and 1 <= self.speed <= 4):
            raise InputError(f"crop_s must be 0.1 to {LONGEST_S:g}, mixup 0 to 1 and speed 1 to 4")
