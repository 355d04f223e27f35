"""Checkpoints of transformers small enough to make in a test: seeded weights, a few layers.

What they answer is nonsense, but the same nonsense each time, and their files are those of real
ones. Each function saves one into a folder that does not exist yet, and returns the folder.
"""

import io
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

torch.set_num_threads(1)  # more of them wait for each other longer than these networks compute

WORDS = (
    "a",
    "photo",
    "of",
    "the",
    "cat",
    "dog",
    "car",
    "red",
    "blue",
    "tree",
    "house",
    "this",
    "is",
)


def photograph(width: int = 90, height: int = 60, seed: int = 0) -> Image.Image:
    """A picture with structure: noise at a few pixels a grain, the same for the same seed."""
    grains = np.random.default_rng(seed).integers(0, 256, (6, 9, 3), dtype=np.uint8)
    return Image.fromarray(grains).resize((width, height), Image.Resampling.BICUBIC)


def siglip(folder: Path, seed: int = 0) -> Path:
    """SigLIP, with the tokenizer of sentencepiece that its published checkpoints have."""
    from transformers import SiglipImageProcessor, SiglipTokenizer

    folder.mkdir(parents=True)
    (folder / "spiece.model").write_bytes(_pieces())
    tokenizer = SiglipTokenizer(str(folder / "spiece.model"), model_max_length=64)
    save(_siglip_model(len(tokenizer), seed), folder)
    tokenizer.save_pretrained(folder)
    SiglipImageProcessor(size={"height": 32, "width": 32}).save_pretrained(folder)
    return folder


def siglip2_of_a_fixed_resolution(folder: Path) -> Path:
    """SigLIP2 as its checkpoints of a fixed resolution are: SigLIP with another tokenizer."""
    from transformers import SiglipImageProcessor

    tokenizer = _siglip2_tokenizer()
    save(_siglip_model(len(tokenizer), 1), folder)
    tokenizer.save_pretrained(folder)
    SiglipImageProcessor(size={"height": 32, "width": 32}).save_pretrained(folder)
    return folder


def siglip2_of_any_shape(folder: Path) -> Path:
    """SigLIP2 NaFlex: takes as many patches as there are."""
    from transformers import Siglip2Config, Siglip2ImageProcessor, Siglip2Model

    tokenizer = _siglip2_tokenizer()
    torch.manual_seed(2)
    text, vision = towers(len(tokenizer))
    model = Siglip2Model(
        Siglip2Config(text_config=text, vision_config=vision | {"num_patches": 16})
    )
    save(_told_apart(model), folder)
    tokenizer.save_pretrained(folder)
    Siglip2ImageProcessor(patch_size=8, max_num_patches=16).save_pretrained(folder)
    return folder


def owlv2(folder: Path) -> Path:
    """OWLv2, which looks for what it is asked for."""
    from transformers import (
        CLIPTokenizer,
        Owlv2Config,
        Owlv2ForObjectDetection,
        Owlv2ImageProcessor,
    )

    torch.manual_seed(6)
    tokenizer = CLIPTokenizer(vocab=_clip_words(), merges=[], model_max_length=16)
    text, vision = towers(len(tokenizer))
    ends = {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 2}
    config = Owlv2Config(
        text_config=text | ends | {"max_position_embeddings": 16},
        vision_config=vision,
        projection_dim=16,
    )
    save(_told_apart(Owlv2ForObjectDetection(config)), folder)
    tokenizer.save_pretrained(folder)
    Owlv2ImageProcessor(size={"height": 32, "width": 32}).save_pretrained(folder)
    return folder


def blip(folder: Path) -> Path:
    """BLIP, which writes captions."""
    from transformers import (
        BertTokenizer,
        BlipConfig,
        BlipForConditionalGeneration,
        BlipImageProcessor,
    )

    torch.manual_seed(7)
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "[DEC]"]
    words = {word: at for at, word in enumerate([*special, *WORDS])}
    tokenizer = BertTokenizer(vocab=words, bos_token=special[-1])
    text, vision = towers(len(tokenizer))
    ends = {"bos_token_id": 5, "eos_token_id": 3, "sep_token_id": 3, "pad_token_id": 0}
    wide = {"encoder_hidden_size": 16, "projection_dim": 16}
    config = BlipConfig(text_config=text | ends | wide, vision_config=vision, projection_dim=16)
    save(_told_apart(BlipForConditionalGeneration(config)), folder)
    tokenizer.save_pretrained(folder)
    BlipImageProcessor(size={"height": 32, "width": 32}).save_pretrained(folder)
    return folder


def towers(words: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """Configuration of a transformer for texts of so many words, and of one for pictures."""
    both = {
        "hidden_size": 16,
        "intermediate_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
    }
    text = {**both, "vocab_size": words, "max_position_embeddings": 64}
    return text, {**both, "image_size": 32, "patch_size": 8}


def _siglip_model(words: int, seed: int) -> Any:
    from transformers import SiglipConfig, SiglipModel

    torch.manual_seed(seed)
    text, vision = towers(words)
    return _told_apart(SiglipModel(SiglipConfig(text_config=text, vision_config=vision)))


def _told_apart(model: Any) -> Any:
    """Fresh networks answer nearly the same to everything; larger weights tell more apart."""
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.ndim > 1:
                parameter.normal_(0.0, 0.3)
            elif name.endswith("logit_scale"):
                parameter.fill_(2.0)
            elif name.endswith("logit_bias"):
                parameter.fill_(-1.0)
    return model


def save(model: Any, folder: Path) -> None:
    """As transformers does, in safetensors."""
    model.eval().save_pretrained(folder)


def _pieces() -> bytes:
    """A model of sentencepiece, trained on a few sentences."""
    import sentencepiece

    sentences = (f"{a} {b} {c}" for a in WORDS for b in WORDS for c in WORDS)
    written = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=sentences,
        model_writer=written,
        vocab_size=60,
        hard_vocab_limit=False,
        pad_id=0,
        eos_id=1,
        unk_id=2,
        bos_id=-1,
        minloglevel=2,
    )
    return written.getvalue()


def _siglip2_tokenizer() -> Any:
    from transformers import Siglip2Tokenizer

    special = ("<pad>", "<eos>", "<bos>", "<unk>", "<mask>")
    letters = sorted({letter for word in WORDS for letter in word} | {"▁", "."})
    vocabulary = {piece: at for at, piece in enumerate((*special, *letters))}
    return Siglip2Tokenizer(vocab=vocabulary, merges=[], model_max_length=64)


def _clip_words() -> dict[str, int]:
    letters = sorted({letter for word in WORDS for letter in word})
    # Number 0 is what OWLv2 takes for "nothing is asked for".
    pieces = ("!", "<|startoftext|>", "<|endoftext|>", *letters, *(f"{it}</w>" for it in letters))
    return {piece: at for at, piece in enumerate(pieces)}
