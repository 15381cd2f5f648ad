"""Golden counts, the places of attention in every kind of network, and what filling them does."""

import pytest
import torch
from torch import nn

from attn.backbones import BACKBONES
from attn.build import multiply_adds
from attn.modules import MECHANISMS
from attn.place import attach, places

# Parameters without attention, at 1000 classes or, behind /10, at CIFAR-10's.
PLAIN = {
    "resnet18": 11_689_512,
    "resnet50": 25_557_032,
    "mobilenet_v2": 3_504_872,
    "mobilenet_v2/10": 2_236_682,
    "resnet20/10": 272_474,
    "resnet56/10": 855_770,
    "resnet110/10": 1_730_714,
}
# Counted with the authors' own code, but where "formula" stands.
PER_BLOCK = [
    ("resnet18", {}, "se", {}, 11_778_592),
    ("resnet18", {}, "se", {"bias": False}, 11_776_552),
    ("resnet18", {}, "cbam", {}, 11_779_392),
    ("resnet50", {}, "se", {}, 28_088_024),
    ("resnet50", {}, "se", {"bias": False}, 28_071_976),
    ("resnet50", {}, "cbam", {}, 28_089_624),
    ("resnet20/10", {}, "se", {}, 274_847),
    ("resnet20/10", {}, "se", {"bias": False}, 274_490),
    ("resnet20/10", {}, "se", {"bias": False, "reduction": 4}, 280_538),
    ("resnet56/10", {}, "se", {}, 862_889),
    ("resnet110/10", {}, "se", {}, 1_744_952),
    ("resnet18/10", {"stem": "cifar"}, "cbam", {}, 11_263_842),
    ("resnet50/10", {"stem": "cifar"}, "cbam", {}, 26_053_434),
    ("mobilenet_v2", {}, "se", {}, 3_504_872 + 571_452),
    ("mobilenet_v2", {}, "cbam", {}, 3_504_872 + 573_052),
    ("mobilenet_v2", {}, "cbam_channel", {}, 3_504_872 + 571_452),
    ("mobilenet_v2", {}, "se", {"reduction": 24}, 3_888_208),  # formula
    ("mobilenet_v2", {}, "cbam", {"reduction": 24}, 3_889_808),  # formula
    ("mobilenet_v2", {"refine_at": "projection"}, "se", {}, 3_504_872 + 30_013),
    ("mobilenet_v2", {"refine_at": "projection"}, "cbam", {}, 3_504_872 + 31_713),
]
# The width at the end of every block's residual branch, stage by stage.
WIDTHS = {
    "resnet20": [[16] * 3, [32] * 3, [64] * 3],
    "resnet18": [[64] * 2, [128] * 2, [256] * 2, [512] * 2],
    "resnet50": [[256] * 3, [512] * 4, [1024] * 6, [2048] * 3],
}
MOBILENET = {
    "expansion": [[], [96, 144], [144, 192, 192], [192, *[384] * 4, 576, 576], [576, *[960] * 3]],
    "projection": [[16], [24] * 2, [32] * 3, [64] * 4 + [96] * 3, [160] * 3 + [320]],
}


def network_of(name, **options):
    backbone, _, classes = name.partition("/")
    return BACKBONES[backbone](num_classes=int(classes or 1000), **options)


def parameters(network):
    return sum(parameter.numel() for parameter in network.parameters())


def test_every_backbone_has_its_count():
    assert {name.partition("/")[0] for name in PLAIN} == set(BACKBONES)


@pytest.mark.parametrize(("name", "expected"), PLAIN.items())
def test_parameters(name, expected):
    assert parameters(network_of(name)) == expected


@pytest.mark.parametrize(("name", "options", "mechanism", "arguments", "expected"), PER_BLOCK)
def test_parameters_with_attention_per_block(name, options, mechanism, arguments, expected):
    network, module = network_of(name, **options), MECHANISMS[mechanism]
    attach(network, "per_block", module.seam, "all", lambda _, c: module(c, **arguments))
    assert parameters(network) == expected


@pytest.mark.parametrize(
    ("name", "expected"), [("resnet18/10", 11_173_962), ("resnet50/10", 23_520_842)]
)
def test_parameters_with_the_cifar_stem(name, expected):
    assert parameters(network_of(name, stem="cifar")) == expected


@pytest.mark.parametrize(
    ("name", "mechanism", "billions"),
    [
        ("resnet18", None, 1.814),
        ("resnet18", "se", 1.814),
        ("resnet18", "cbam", 1.815),
        ("resnet50", None, 4.089),
        ("resnet50", "se", 4.092),
        ("resnet50", "cbam", 4.096),
        ("mobilenet_v2", None, 0.301),
    ],
)
def test_multiply_adds_at_224(name, mechanism, billions):
    network = network_of(name)
    if mechanism:
        attach(network, "per_block", "refine", "all", lambda _, c: MECHANISMS[mechanism](c))
    assert multiply_adds(network, 3, 224) / 1e9 == pytest.approx(billions, abs=6e-4)


def widths(network, location, stages="all"):
    chosen = places(network, location, "refine", stages)
    return [owner.seams.channels[seam] for owner, seam in chosen]


@pytest.mark.parametrize("name", WIDTHS)
def test_places_in_a_resnet(name):
    network, stages = BACKBONES[name](), WIDTHS[name]
    assert widths(network, "per_block") == [width for stage in stages for width in stage]
    assert widths(network, "per_stage") == [stage[-1] for stage in stages]
    assert widths(network, "per_block", [2]) == stages[1]
    assert widths(network, "per_stage", [1, 3]) == [stages[0][-1], stages[2][-1]]


@pytest.mark.parametrize("refine_at", MOBILENET)
def test_places_in_mobilenet(refine_at):
    network, stages = BACKBONES["mobilenet_v2"](refine_at=refine_at), MOBILENET[refine_at]
    assert widths(network, "per_block") == [width for stage in stages for width in stage]
    assert widths(network, "per_stage") == [stage[-1] for stage in stages if stage]
    assert widths(network, "per_block", [4, 5]) == stages[3] + stages[4]
    ends = [owner.seams.channels["out"] for owner, _ in places(network, "per_stage", "out")]
    assert ends == [16, 24, 32, 96, 320]


def test_stages_that_are_not_there_are_refused():
    network = BACKBONES["mobilenet_v2"]()
    with pytest.raises(ValueError, match=r"stages=\[6\]: choose all, or .* numbers from 1 to 5"):
        widths(network, "per_block", [6])
    with pytest.raises(
        ValueError, match=r"stages=\[1\]: no block .* refine; .* with it: 2, 3, 4, 5"
    ):
        widths(network, "per_block", [1])


def test_a_mechanism_that_cannot_stand_somewhere_says_where():
    network, module = BACKBONES["resnet20"](), MECHANISMS["se"]
    with pytest.raises(ValueError, match=r"layer1\.0\.refine: se on 16 channels: reduction=0"):
        attach(network, "per_block", "refine", "all", lambda _, c: module(c, reduction=0))


class Double(nn.Module):
    def forward(self, x):
        return 2 * x


def test_refine_gates_the_branch_and_out_the_block():
    block = BACKBONES["resnet20"]().eval().layer1[0]
    x = torch.randn(2, 16, 8, 8)
    branch = block.bn2(block.conv2(torch.relu(block.bn1(block.conv1(x)))))
    block.seams.fill("refine", Double())
    torch.testing.assert_close(block(x), torch.relu(2 * branch + x))
    block.seams.fill("out", Double())
    torch.testing.assert_close(block(x), 2 * torch.relu(2 * branch + x))


@pytest.mark.parametrize("refine_at", ["expansion", "projection"])
def test_mobilenets_two_places(refine_at):
    network = BACKBONES["mobilenet_v2"](refine_at=refine_at).eval()
    block, x = network.features[3], torch.randn(2, 24, 8, 8)  # 24 -> 24, with a shortcut
    expand, depthwise, project, norm = block.conv
    inner = depthwise(expand(x))
    block.seams.fill("refine", Double())
    gated = {"expansion": norm(project(2 * inner)), "projection": 2 * norm(project(inner))}
    torch.testing.assert_close(block(x), x + gated[refine_at])


@pytest.mark.parametrize("name", ["resnet18", "resnet50", "mobilenet_v2"])
def test_the_cifar_stem_keeps_the_resolution(name):
    sizes = []
    network = network_of(f"{name}/10", stem="cifar").eval()
    network.stages[0][0].register_forward_pre_hook(lambda _, x: sizes.append(x[0].shape[-1]))
    network(torch.rand(1, 3, 32, 32))
    assert sizes == [32]
    with pytest.raises(ValueError, match="stem=wide; choose one of imagenet, cifar"):
        network_of(name, stem="wide")
