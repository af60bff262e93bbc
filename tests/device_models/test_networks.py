"""Every network of the public measurements has its true shapes, or is named with the reason why not."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from device_models.measured import read_measured
from device_models.networks import described, find_models

if TYPE_CHECKING:
    from collections.abc import Iterable

SHARED = Path(__file__).parents[2].parent / "shared"
# No public layer list (mcunet-vww0 and -vww2, hand postures), no network but a support vector machine (SVC), no patch
# size (ViT_base alone).
WITHOUT_SHAPES = {
    "mcunet-vww0", "mcunet-vww2", "CNN2D_ST_HandPosture 8 x 8 x 2", "ViT_base",
    *(f"SVC wl {window} pct {share} 1 x 1 x 1 x {3 * window}" for window in (24, 48) for share in (2, 5, 10)),
}  # fmt: skip


@pytest.mark.parametrize(
    ("measured", "built_in"),
    [
        ("mobilenet-v1-precision_float-0.25-160", "mobilenet_v1_0.25_160"),
        ("mobilenet-v2-precision_uint8-1.0-224", "mobilenet_v2_1.0_224"),
        ("mobilenet-v3-precision_float-small-minimalistic-224", "mobilenet_v3_small_minimalistic"),
        ("efficientnet-int8-lite3", "efficientnet_lite3"),
        ("Resnet50_Pytorch_Infer_poc", "resnet50"),
        ("Resnet18_for_PyTorch", "resnet18"),
        ("ResNeXt-50", "resnext50_32x4d"),
        ("Shufflenetv2_for_Pytorch", "shufflenet_v2"),
        ("SqueezeNet1_1_for_Pytorch", "squeezenet1_1"),
        ("Yolov4_for_Pytorch 416", "yolov4_608"),  # as it was compiled, whatever is printed
        ("Yolov4_for_Pytorch 608", "yolov4_608"),
        ("ViT_base ViT_base_patch8_224", "vit_b_8_224"),
        ("mobilenet_v3", "ncnn_mobilenet_v3"),
        ("squeezenet_ssd_int8", "ncnn_squeezenet_ssd"),
        ("yolo-fastest-1.1", "ncnn_yolo-fastest-1.1"),
        ("qwen2.5-1.5B-Q4_0 decode(tg128) 1", "qwen2.5_1.5b_1_64"),
        ("tinyllama-1.1B-F16 prefill 512", "tinyllama_1.1b_512"),
        ("Yolov4_for_Pytorch 16", None),  # smaller than any window
        ("a network of its own", None),
    ],
)
def test_a_rule_gives_a_measured_name_its_built_in_network(measured: str, built_in: str | None) -> None:
    assert described(measured) == built_in


def test_a_name_with_numbers_is_found_as_it_is() -> None:
    assert find_models([]).find("mobilenet_v2_0.35_128") == "mobilenet_v2_0.35_128"
    assert find_models([]).find("mobilenet_v2_0.35_12") is None


def test_a_row_is_told_apart_by_its_variant_or_its_inputs_last_extent(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    lines = (
        "Yolov4_for_Pytorch,,batchsize x 3 x 608 x 608", "ViT_base,ViT_base_patch32_224,batchsize x 3 x 224 x 224",
        "UNet,,\"actual_input_1:1,3,572,572\"", "vgg16,AOE-tuned,1x3x224x224", "resnet8,,",
    )  # fmt: skip
    path.write_text("model,variant,input_shape,latency_ms\n" + "".join(f"{line},1\n" for line in lines))
    places = [find_models([]).find(row.model) for row in read_measured(path)]
    assert places == ["yolov4_608", "vit_b_32_224", "unet_572", "vgg16", "resnet8"]


def names(files: Iterable[str]) -> set[str]:
    return {row.model for file in files for row in read_measured(SHARED / "measured" / file)}


def test_the_networks_of_public_measurements_have_shapes_but_for_those_that_are_named() -> None:
    if not (SHARED / "measured").exists():
        pytest.skip("the sibling folder 'shared' with the public measurements is absent")
    every = names(("mcu.csv", "x86.csv", "riscv.csv", "ascend.csv"))
    models = find_models([SHARED / "models", SHARED / "measured"])
    assert {name for name in every if models.find(name) is None} == WITHOUT_SHAPES
    alone = find_models([])
    assert {name for name in names(("x86.csv", "riscv.csv", "ascend.csv")) if alone.find(name) is None} == {"ViT_base"}
