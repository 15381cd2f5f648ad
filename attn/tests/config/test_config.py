"""The catalogue, the checks before anything long starts, labels and identity."""

from dataclasses import asdict

import pytest
from omegaconf import OmegaConf

from attn.config import catalogue, sweep
from attn.config.catalogue import choices, varied
from attn.config.check import Impossible, check, choose_device, chosen_seeds
from attn.config.sweep import configuration
from attn.config.values import check_last_batch, checked_arguments
from attn.errors import UserError
from attn.runs.folder import Run

GROUPS = ("backbone", "attention", "data", "recipe")


@pytest.mark.parametrize(
    ("group", "choice"), [(group, choice) for group in GROUPS for choice in choices(group)]
)
def test_every_yaml_makes_a_configuration_of_its_own_name(group, choice):
    made = configuration(f"{group}={choice}")
    assert made.labels[group] == choice


MANY = ("blocks", "placement", "noise_kinds")  # thirty cells and more


@pytest.mark.parametrize(
    "experiment",
    [pytest.param(e, marks=[pytest.mark.slow] * (e in MANY)) for e in choices("experiment")],
)
def test_every_cell_of_every_experiment_is_a_configuration(experiment):
    params = varied(experiment).items()
    cells, cannot = [], []
    for cell in sweep.split([f"{key}={values}" for key, values in params]):
        try:
            cells.append(configuration(*cell))
        except Impossible:
            cannot.append(cell)
    replacing = ("sk", "split")  # at first and last; shuffle at RGB's first
    assert len(cannot) == (2 * len(replacing) + 1 if experiment == "placement" else 0)
    baselines = sum(cell.location == "none" for cell in cells)
    assert len({cell.key for cell in cells}) >= len(cells) - max(0, baselines - 1)


def test_without_words_it_is_the_posts_best_model():
    made = configuration()
    assert made.labels == {
        "backbone": "mobilenet_v2",
        "attention": "cbam_channel",
        "data": "rgb",
        "recipe": "post",
    }
    assert made.location == "last" and made.attention["reduction"] == 1
    assert asdict(made.recipe) == {  # as configs/README.md has it
        "name": "post",
        "size": 112,
        "images": None,
        "test_images": None,
        "epochs": 20,
        "batch_size": 32,
        "lr": 0.01,
        "momentum": 0.9,
        "weight_decay": 0.0,
        "schedule": "constant",
        "warmup": 0.0,
        "augment": "none",
        "precision": "bf16",
    }


def test_no_attention_and_no_location_are_the_one_baseline():
    baselines = [configuration("attention=none"), configuration("location=none")]
    baselines.append(configuration("attention=none", "location=first"))
    assert len({baseline.key for baseline in baselines}) == 1
    assert all(b.labels["attention"] == "none" and b.location == "none" for b in baselines)


def test_published_is_what_the_mechanism_declares():
    assert (
        configuration("attention=se").key == configuration("attention=se", "location=per_block").key
    )
    assert configuration("attention=cbam_channel").location == "last"
    bam = configuration("attention=bam")
    assert (bam.location, bam.stages) == ("per_stage", "between")
    assert configuration("attention=bam", "stages=[2,3]").stages == [2, 3]


def test_smooth_noise_is_uniform_noise_of_an_eighth_of_the_size():
    smooth = configuration("data=rgb_noise", "data.noise.kind=smooth", "recipe.size=64")
    spelled = configuration("data=rgb_noise", "data.noise.size=8", "recipe.size=64")
    assert smooth.key == spelled.key and smooth.labels["data"] == "rgb_noise+size=8"


def test_blocks_restrict_what_stands_in_every_block_and_have_one_form():
    words = "attention=se", "backbone=resnet20"
    one = configuration(*words, "blocks=[5,1,1]")
    assert one.blocks == [1, 5] and one.stages_text == "blocks 1+5"
    assert "-per_block-blocks1+5-" in Run(one, 0, None).name
    assert one.title.startswith("resnet20, se at per_block in blocks 1+5, rgb")
    assert one.key == configuration(*words, "blocks=[1,5]").key != configuration(*words).key
    assert "blocks" not in configuration(*words).identity()  # runs from before it keep their names
    assert configuration("blocks=[1]", "location=none").key == configuration("location=none").key
    with pytest.raises(Impossible, match=r"blocks=\[1\]: location=last; choose per_block"):
        configuration("blocks=[1]", "location=last")
    for wrong in ("[10]", "[0]", "[]"):
        with pytest.raises(Impossible, match=r"choose all, or a list .* the seam refine: 1 to 9"):
            configuration(*words, f"blocks={wrong}")
    with pytest.raises(Impossible, match=r"seam refine: 2 to 17"):  # the first does not expand
        configuration("attention=se", "backbone=mobilenet_v2", "blocks=[1]")


def test_stages_restrict_what_stands_in_stages_and_have_one_form():
    per_stage = configuration("attention=se", "location=per_stage", "stages=[4,5]")
    assert per_stage.stages == [4, 5] and "-per_stage-stages4+5-" in Run(per_stage, 0, None).name
    again = configuration("attention=se", "location=per_stage", "stages=[5,4,4]")
    assert again.key == per_stage.key
    for words in (["location=last"], ["location=first", "data=rgb_noise"], []):
        with pytest.raises(Impossible, match=r"stages=\[1\]: location=(last|first) is in no stage"):
            configuration("stages=[1]", *words)
    assert configuration("stages=[1]", "location=none").key == configuration("location=none").key
    for wrong in ("stages=[9]", "stages=[]", "stages=first", "stages=[one]", "stages=2"):
        with pytest.raises(UserError, match="choose all, between, or a list"):
            configuration("attention=se", wrong)


def test_strict_is_part_of_what_a_run_is_and_compile_is_not():
    plain, strict = configuration(), configuration("strict=true")
    assert plain.key != strict.key and plain.recipe == strict.recipe
    assert configuration("compile=true").key == plain.key
    with pytest.raises(UserError, match="strict=true: compiled kernels are chosen by timing"):
        configuration("strict=true", "compile=true")


NORMALISE_POOLED = ("sk", "split", "bam", "aff", "iaff")


@pytest.mark.parametrize("attention", choices("attention"))
def test_a_last_batch_of_one_image_is_refused_where_pooled_features_are_normalised(attention):
    made = configuration(f"attention={attention}")
    for images in (50_000, 64):
        check_last_batch(made, images)
    if attention in NORMALISE_POOLED:
        with pytest.raises(UserError, match="33 images the last batch has one, and something in"):
            check_last_batch(made, 33)
    else:
        check_last_batch(made, 33)


def test_a_last_batch_of_one_image_is_refused_where_the_last_map_has_one_position():
    small = configuration("recipe=quick", "location=none")  # 32 pixels, halved five times
    with pytest.raises(UserError, match="33 images the last batch has one"):
        check_last_batch(small, 33)


def test_a_whole_number_is_a_number():
    assert configuration("attention=aff", "attention.scale=1").attention["scale"] == 1.0
    one = configuration("attention=aff", "attention.scale=1").key
    assert one == configuration("attention=aff", "attention.scale=1.0").key
    with pytest.raises(UserError, match=r"attention\.reduction=1\.5: it takes a whole number"):
        configuration("attention=se", "attention.reduction=1.5")


@pytest.mark.parametrize("number", ["5e-4", "1E3", "1.5e3", ".5e-2", "2e+4"])
def test_a_number_in_a_yaml_is_what_hydra_makes_of_it(number):
    assert catalogue.parsed(f"lr: {number}") == OmegaConf.create(f"lr: {number}")
    assert type(catalogue.parsed(f"lr: {number}")["lr"]) is float


def test_a_label_says_what_was_changed():
    made = configuration("recipe.epochs=3", "attention.reduction=4", "data.noise.channels=1")
    assert made.labels["recipe"] == "post+epochs=3"
    assert made.labels["attention"] == "cbam_channel+reduction=4"
    assert made.labels["data"] == "rgb_noise+channels=1"
    assert configuration("data.noise.channels=3").labels["data"] == "rgb_noise"
    assert configuration("data=rgb_noise", "data.noise.channels=0").labels["data"] == "rgb"


def test_identity_is_what_decides_the_numbers():
    base = configuration()
    same = [configuration("data.root=/elsewhere"), configuration("seeds=7", "device=cpu")]
    same += [configuration("data.noise.kind=gaussian", "data.noise.size=8")]  # of no channel
    assert {made.key for made in same} == {base.key}
    changes = ["recipe.lr=0.02", "attention.bias=false", "data=rgb_noise", "location=first"]
    changed = {configuration(change).key for change in changes}
    assert len(changed) == len(changes) and base.key not in changed
    assert check(sweep.composed([]), "other pixels").key != base.key


def test_a_runs_folder_is_readable_and_ends_in_the_hash(tmp_path):
    made = configuration("data=rgb_noise", "location=first", "recipe=quick")
    run = Run(made, 3, tmp_path)
    assert run.name == f"mobilenet_v2-cbam_channel-first-rgb_noise-quick-s3-{made.key}"
    assert Run(configuration("location=none"), 0, tmp_path).name.startswith(
        "mobilenet_v2-none-rgb-post-s0-"
    )


def test_an_unknown_device_is_refused_with_the_choices():
    with pytest.raises(UserError, match="device=tpu: choose one of auto, cuda, cpu"):
        choose_device(sweep.composed(["device=tpu"]))


@pytest.mark.parametrize(("words", "seeds"), [("seeds=3", [0, 1, 2]), ("seeds=[4,0]", [4, 0])])
def test_seeds(words, seeds):
    assert chosen_seeds(sweep.composed([words])) == seeds


WRONG_SEEDS = ["0", "-1", "two", "[1,1]", "[]", "[-1]", "[4294967296]", "1.5", "true", "null"]


@pytest.mark.parametrize("value", WRONG_SEEDS)
def test_wrong_seeds_say_what_is_right(value):
    with pytest.raises(UserError, match=r"seeds=5 means seeds 0 to 4"):
        chosen_seeds(sweep.composed([f"seeds={value}"]))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("location=middle", "location=middle: choose one of published, none, first, last"),
        ("attention.location=frist", "its YAML's location=frist: choose one of none, first, last"),
        ("data.source=cifar100", "data.source=cifar100: choose one of cifar10, synthetic"),
        ("data.noise.channels=-1", "data.noise.channels=-1: it must be from 0 to 256"),
        ("recipe.epochs=0", "recipe.epochs=0: it must be from 1 to 10,000"),
        ("recipe.precision=fp8", "recipe.precision=fp8: choose one of fp32, tf32, bf16"),
        ("recipe.schedule=step", "recipe.schedule=step: choose one of constant, linear, cosine"),
        ("recipe.warmup=1.5", "recipe.warmup=1.5: a share of all steps"),
        ("recipe.lr=-1", "recipe.lr=-1.0: it must be in [0, inf)"),
        (
            "attention.reduction=0",
            "features: attention=cbam_channel on 1280 channels: reduction=0 is below 1",
        ),
        ("+attention.ratio=4", "attention.ratio: cbam_channel takes bias, pools, reduction"),
        ("+backbone.depth=4", "backbone.depth: mobilenet_v2 takes pretrained, refine_at, stem"),
        (
            "data.noise.kind=pink",
            "data.noise.kind=pink: choose one of uniform, gaussian, smooth",
        ),
        ("recipe.lr=inf", "recipe.lr=inf: it must be in [0, inf)"),
        ("recipe.momentum=1", "recipe.momentum=1.0: it must be in [0, 1)"),
        ("recipe.size=4000", "recipe.size=4000: it must be from 8 to 1,024"),
        ("recipe.name=mine", "recipe.name=mine: choose one of cifar, post, quick"),
        ("data.name=noise", "data.name=noise: choose one of rgb, rgb_noise"),
        ("data.noise.size=200", "data.noise.size=200: the input has size 112"),
        ("recipe.augment=mixup", "recipe.augment=mixup: choose one of none, crop_flip"),
        ("backbone.stem=wide", "stem=wide; choose one of imagenet, cifar"),
        ("backbone.refine_at=end", "refine_at=end; choose one of expansion, projection"),
        ("attention.name=cbma", "attention=cbma: it is not among the MECHANISMS of attn/modules"),
    ],
)
def test_a_mistake_is_refused_with_the_choices(words, message):
    with pytest.raises(UserError) as raised:
        configuration(words)
    assert message in str(raised.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            b"# caf\xe9\nname: mine\n",
            "configs/attention/mine.yaml: save it as UTF-8; byte 5 is not",
        ),
        (b"name: se\n", "configs/attention/mine.yaml: its name is se; write name: mine"),
        (b"name:\tmine\n\t\n", "configs/attention/mine.yaml: "),
        (b"", "configs/attention/mine.yaml: its name is None; write name: mine"),
    ],
)
def test_a_choice_whose_file_is_wrong_is_named(tmp_path, monkeypatch, text, message):
    configs = tmp_path / "configs"
    (configs / "attention").mkdir(parents=True)
    (configs / "attention" / "mine.yaml").write_bytes(text)
    monkeypatch.setattr(catalogue, "CONFIGS", configs)
    with pytest.raises(UserError) as raised:
        catalogue.read("attention", "mine")
    assert str(raised.value).startswith(message) and "\n" not in str(raised.value)


def test_a_recipe_names_every_backbone_or_the_others():
    assert catalogue.pick({"resnet18": 1, "others": 2}, "resnet20") == 2
    with pytest.raises(UserError, match="by_backbone names neither resnet20 nor others"):
        catalogue.pick({"resnet18": 1}, "resnet20")


def test_a_yaml_without_an_argument_that_has_no_default_is_named():
    class Mine:
        def __init__(self, channels: int, strength: float):
            pass

    with pytest.raises(UserError, match="attention=mine: its YAML lacks strength, which it takes"):
        checked_arguments("attention", {"name": "mine"}, {"mine": Mine})
