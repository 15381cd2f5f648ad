"""Golden counts, the places of attention in every kind of network, and what filling them does."""

import pytest
import torch
import yaml
from torch import nn

from attn.backbones import BACKBONES
from attn.config.catalogue import read
from attn.config.sweep import configuration
from attn.modules import MECHANISMS
from attn.names import AT_OTHER_SEAMS, BLOCKS, CONTROLS, ENDS
from attn.network.build import build, multiply_adds
from attn.network.place import attach, places
from attn.network.scores import by_channel
from attn.network.seams import CannotStand
from attn.tests.conftest import ROOT, Standing, numbers

GOLDEN = yaml.safe_load((ROOT / "attn" / "modules" / "golden.yaml").read_text())
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


def network_of(name, classes=1000, **options):
    return BACKBONES[name](num_classes=classes, **options)


def attached(network, mechanism, location=None, stages=None, **changes):
    """With a mechanism where its YAML declares it, or elsewhere."""
    declared = read("attention", mechanism)
    location, stages = location or declared["location"], stages or declared.get("stages", "all")
    values = numbers(mechanism) | changes
    attach(network, location, mechanism, stages, lambda form, index, what: form(what, **values))
    return network


# Of these the authors published no count of a whole network that their code confirms.
NEWER = ("eca", "simam", "gct", "gc", "gather_excite", "gsop_position")


def test_everything_has_its_count():
    assert {golden["backbone"] for golden in GOLDEN if "mechanism" not in golden} == set(BACKBONES)
    counted = {golden["mechanism"] for golden in GOLDEN if "mechanism" in golden}
    alone = {"cse", "split", *NEWER, *CONTROLS}  # which are counted below
    assert set(MECHANISMS) - counted == alone


@pytest.mark.parametrize("golden", GOLDEN, ids=lambda g: f"{g['backbone']}-{g.get('mechanism')}")
def test_parameters_of_whole_networks(golden):
    with torch.device("meta"):
        options = golden.get("options", {})
        network = network_of(golden["backbone"], golden.get("classes", 1000), **options)
        if "mechanism" in golden:
            where = golden.get("location"), golden.get("stages")
            attached(network, golden["mechanism"], *where, **golden.get("numbers", {}))
    assert sum(parameter.numel() for parameter in network.parameters()) == golden["parameters"]


@pytest.mark.parametrize(
    ("mechanism", "channels", "expected"),
    [
        ("split", 64, 43_488),  # the authors' module
        ("gsop", 256, 230_784),  # the authors' module
        ("bam", 64, 1_173),
        ("coord", 256, 6_680),
        ("gsop_position", 256, 66_368),  # the authors' module
        ("eca", 64, 3),
        ("eca", 2048, 7),
        ("simam", 64, 0),
        ("gct", 64, 3 * 64),
        ("gc", 256, 256 + 1 + 2 * 256 * 16 + 16 + 256 + 2 * 16),
        ("gather_excite", 64, 0),
        ("cse", 64, 2 * 64 * 32 + 32 + 64),
        ("static", 64, 64),
        ("gain", 64, 64),
        ("random", 64, 2 * (64 * 64 + 64)),
        ("mlp", 64, 2 * (64 * 64 + 64)),  # as many as the gate's that it is held against
    ],
)
def test_parameters_of_modules(mechanism, channels, expected):
    module = Standing(mechanism, channels)
    assert sum(parameter.numel() for parameter in module.parameters()) == expected


@pytest.mark.parametrize(
    ("name", "mechanism", "billions"),
    [
        ("resnet18", None, 1.814),
        ("resnet18", "se", 1.814),
        ("resnet18", "cbam", 1.815),
        ("resnet50", None, 4.089),
        ("resnet50", "se", 4.092),
        ("resnet50", "cbam", 4.096),
        ("resnet18", "bam", 1.819),
        ("resnet50", "bam", 4.171),
        ("resnet50", "shuffle", 4.089),
        ("mobilenet_v2", None, 0.301),
        ("mobilenet_v2", "coord", 0.307),
    ],
)
def test_multiply_adds_at_224(name, mechanism, billions):
    network = network_of(name)
    if mechanism:
        attached(network, mechanism)
    assert multiply_adds(network, 3, 224) / 1e9 == pytest.approx(billions, abs=6e-4)


def widths(network, location, stages="all"):
    chosen = places(network, location, "refine", stages)
    return [owner.seams.widths[seam] for owner, seam in chosen]


@pytest.mark.parametrize("name", WIDTHS)
def test_places_in_a_resnet(name):
    network, stages = BACKBONES[name](), WIDTHS[name]
    assert widths(network, "per_block") == [width for stage in stages for width in stage]
    assert widths(network, "per_stage") == [stage[-1] for stage in stages]
    assert widths(network, "per_block", [2]) == stages[1]
    assert widths(network, "per_stage", "between") == [stage[-1] for stage in stages[:-1]]
    assert widths(network, "per_stage", [1, 3]) == [stages[0][-1], stages[2][-1]]


@pytest.mark.parametrize("name", BACKBONES)
def test_the_blocks_of_every_backbone_are_known(name):
    network = BACKBONES[name]()
    every = places(network, "per_block", "refine")
    assert places(network, "per_block", "refine", blocks=list(BLOCKS[name])) == every


def test_the_mechanisms_at_other_seams_are_known():
    """Their blocks are others; a table of blocks says nothing of all of them."""
    others = {name for name, kind in MECHANISMS.items() if kind.seam != "refine"}
    assert others == set(AT_OTHER_SEAMS)


def test_blocks_are_counted_through_all_stages():
    network = BACKBONES["resnet20"]()
    every = places(network, "per_block", "refine")
    assert len(every) == 9
    chosen = places(network, "per_block", "refine", blocks=[1, 4, 9])
    assert chosen == [every[0], every[3], every[8]]


@pytest.mark.parametrize("refine_at", MOBILENET)
def test_places_in_mobilenet(refine_at):
    network, stages = BACKBONES["mobilenet_v2"](refine_at=refine_at), MOBILENET[refine_at]
    assert widths(network, "per_block") == [width for stage in stages for width in stage]
    assert widths(network, "per_stage") == [stage[-1] for stage in stages if stage]
    assert widths(network, "per_block", [4, 5]) == stages[3] + stages[4]
    ends = [owner.seams.widths["out"] for owner, _ in places(network, "per_stage", "out")]
    assert ends == [16, 24, 32, 96, 320]


def test_stages_that_are_not_there_are_refused():
    network = BACKBONES["mobilenet_v2"]()
    with pytest.raises(ValueError, match=r"stages=\[6\]: choose all, between, or .* 1 to 5"):
        widths(network, "per_block", [6])
    with pytest.raises(
        ValueError, match=r"stages=\[1\]: no block .* refine; .* with it: 2, 3, 4, 5"
    ):
        widths(network, "per_block", [1])


def test_a_mechanism_that_cannot_stand_somewhere_says_where():
    with pytest.raises(
        ValueError, match=r"layer1\.0\.refine: attention=se on 16 channels: reduction=0"
    ):
        attached(BACKBONES["resnet20"](), "se", reduction=0)
    with pytest.raises(
        CannotStand, match=r"attention=sk: location=last: it replaces a convolution, .* per_block"
    ):
        attached(BACKBONES["resnet20"](), "sk", "last")
    with pytest.raises(CannotStand, match=r"input: attention=shuffle on 3 channels: it halves"):
        attached(BACKBONES["resnet20"](), "shuffle", "first")


class Double(nn.Module):
    def forward(self, x):
        return 2 * x


def basic(block, x):
    y = block.bn2(block.conv2(torch.relu(block.bn1(block.conv1(x)))))
    return y, block.downsample(x) if block.downsample else x


def bottleneck(block, x):
    y = torch.relu(block.bn1(block.conv1(x)))
    y = block.bn3(block.conv3(torch.relu(block.bn2(block.conv2(y)))))
    return y, block.downsample(x) if block.downsample else x


def inverted(block, x):
    return block.conv(x), x


# A network, its block that adds a shortcut, the block's input, branch and shortcut, and what
# follows the addition.
ADDING = [
    ("resnet20", lambda net: net.layer2[0], 16, basic, torch.relu),
    ("resnet50", lambda net: net.layer1[0], 64, bottleneck, torch.relu),
    ("mobilenet_v2", lambda net: net.features[3], 24, inverted, nn.Identity()),
]
adding = pytest.mark.parametrize(
    ("name", "of", "width", "branch", "end"), ADDING, ids=[row[0] for row in ADDING]
)


@adding
def test_refine_gates_the_branch_fuse_adds_and_out_gates_the_block(name, of, width, branch, end):
    at_end = {"refine_at": "projection"} if name == "mobilenet_v2" else {}
    block, x = of(BACKBONES[name](**at_end).eval()), torch.randn(2, width, 8, 8)
    drawn(block)
    y, shortcut = branch(block, x)
    block.seams.fill("refine", Double())
    torch.testing.assert_close(block(x), end(2 * y + shortcut))
    block.seams.fill("fuse", Sum())
    torch.testing.assert_close(block(x), end(4 * y + 3 * shortcut))
    block.seams.fill("out", Double())
    torch.testing.assert_close(block(x), 2 * end(4 * y + 3 * shortcut))


def drawn(block):
    """Gives the normalisations other factors than 1: else some of their places look alike."""
    for norm in block.modules():
        if isinstance(norm, nn.BatchNorm2d):
            nn.init.uniform_(norm.weight, 0.5, 2)
            nn.init.normal_(norm.bias)


class Sum(nn.Module):
    def forward(self, branch, shortcut):
        return 2 * branch + 3 * shortcut


def test_fuse_takes_the_places_of_the_additions():
    resnet, mobilenet = BACKBONES["resnet50"](), BACKBONES["mobilenet_v2"]()
    assert len(places(resnet, "per_block", "fuse")) == 16
    assert len(places(mobilenet, "per_block", "fuse")) == 10


@pytest.mark.parametrize(
    ("name", "count"), [("resnet20", 9), ("resnet50", 16), ("mobilenet_v2", 17)]
)
def test_conv_sets_convolution_norm_and_activation_aside(name, count):
    network = BACKBONES[name]().eval()
    before = dict(network.named_parameters())
    found = places(network, "per_block", "conv")
    assert len(found) == count
    block = found[3][0]
    conv, norm, activation = block.convolution
    assert conv.kernel_size == (3, 3) and conv.out_channels == norm.num_features
    assert isinstance(activation, nn.ReLU6 if name == "mobilenet_v2" else nn.ReLU)
    x, stand_in = torch.randn(1, 3, 64, 64), Negative(conv)
    block.replace_convolution(stand_in)
    gone = before.keys() - dict(network.named_parameters()).keys()
    assert len(gone) == 3  # the convolution's weight, the norm's two
    network(x)
    assert stand_in.given.eq(-1).all()  # no activation follows, in place


class Negative(nn.Module):
    """Stands in for a convolution; remembers the tensor that the next layer got."""

    def __init__(self, conv):
        super().__init__()
        self.shape = conv.out_channels, conv.stride[0]

    def forward(self, x):
        channels, stride = self.shape
        self.given = -torch.ones(len(x), channels, *(-(-n // stride) for n in x.shape[2:]))
        return self.given


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
    network = network_of(name, 10, stem="cifar").eval()
    network.stages[0][0].register_forward_pre_hook(lambda _, x: sizes.append(x[0].shape[-1]))
    network(torch.rand(1, 3, 32, 32))
    assert sizes == [32]
    with pytest.raises(ValueError, match="stem=wide; choose one of imagenet, cifar"):
        network_of(name, stem="wide")


@pytest.mark.parametrize("mechanism", MECHANISMS)
def test_its_readme_says_what_each_mechanism_adds(mechanism):
    (row,) = (
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in (ROOT / "attn" / "modules" / "README.md").read_text().splitlines()
        if line.startswith(f"| `{mechanism}` |")
    )
    added = []
    for name in ("mobilenet_v2", "resnet50", "resnet20"):
        with torch.device("meta"):
            networks = network_of(name), attached(network_of(name), mechanism)
        before, after = (sum(p.numel() for p in n.parameters()) for n in networks)
        added.append(f"{after - before:+,}")
    assert row[-3:] == added
    declared, kind = read("attention", mechanism), MECHANISMS[mechanism]
    assert row[3].startswith(f"`{declared['location']}")
    seam = ENDS.get(declared["location"], kind.seam)
    assert row[3].endswith(f"`{seam}`")


def test_blocks_of_one_width_start_from_values_of_their_own():
    state = build(configuration("backbone=resnet20", "attention=se"), 0).state_dict()
    one, other = (state[f"layer1.{block}.seams.refine.squeeze.weight"] for block in (0, 1))
    assert one.shape == other.shape and not one.equal(other)


def test_of_shares_the_last_path_counts():
    shares = torch.tensor([[[0.9, 0.2], [0.1, 0.8]]])  # of one image, two paths, two channels
    assert by_channel(shares).equal(torch.tensor([[0.1, 0.8]]))
