"""Every preset as the papers' tables and pycls' model zoo write it down: blocks, widths, what is no default."""

from __future__ import annotations

import pytest

from ressearch import Architecture
from ressearch.errors import ArchitectureError
from ressearch.networks import presets as module
from ressearch.networks.presets import PRESETS, presets, published_input

CIFAR = "w16.32.64"
BASIC, BOTTLENECK = "w64.128.256.512", "w256.512.1024.2048"
D = "+shortcut=avgpool_projection+stem=deep"
DENSE = "+norm_order=pre+skip=dense+growth_rate=32.0+compression=0.5+stem=imagenet"
RESNEXT = "+stem=imagenet+stem_width=64"

TABLES = {
    # He et al. 2015, section 4.2 and Table 6: 6n+2, n of 3, 5, 7, 9, 18, 200
    "resnet20-cifar": f"basic-d3.3.3-{CIFAR}",
    "resnet32-cifar": f"basic-d5.5.5-{CIFAR}",
    "resnet44-cifar": f"basic-d7.7.7-{CIFAR}",
    "resnet56-cifar": f"basic-d9.9.9-{CIFAR}",
    "resnet110-cifar": f"basic-d18.18.18-{CIFAR}",
    "resnet1202-cifar": f"basic-d200.200.200-{CIFAR}",
    "resnet20-a-cifar": f"basic-d3.3.3-{CIFAR}+shortcut=pad",
    "resnet32-a-cifar": f"basic-d5.5.5-{CIFAR}+shortcut=pad",
    "resnet44-a-cifar": f"basic-d7.7.7-{CIFAR}+shortcut=pad",
    "resnet56-a-cifar": f"basic-d9.9.9-{CIFAR}+shortcut=pad",
    "resnet110-a-cifar": f"basic-d18.18.18-{CIFAR}+shortcut=pad",
    "resnet1202-a-cifar": f"basic-d200.200.200-{CIFAR}+shortcut=pad",
    # He et al. 2016, Table 4: 9n+2, n of 18 and 111
    "preresnet164-cifar": "bottleneck-d18.18.18-w64.128.256+norm_order=pre",
    "preresnet1001-cifar": "bottleneck-d111.111.111-w64.128.256+norm_order=pre",
    # Zagoruyko and Komodakis 2016, Table 1: 6n+4, n of 2, 4, 6; widths of 16 k, 32 k, 64 k
    "wrn-16-8-cifar": "basic-d2.2.2-w128.256.512+norm_order=pre+stem_width=16",
    "wrn-28-10-cifar": "basic-d4.4.4-w160.320.640+norm_order=pre+stem_width=16",
    "wrn-40-4-cifar": "basic-d6.6.6-w64.128.256+norm_order=pre+stem_width=16",
    # Huang et al. 2017: 24 channels, 16 layers of 12 to 216; half of it, to 300; half of it, to 342
    "densenet100-bc-12-cifar": "dense_bottleneck-d16.16.16-w216.300.342+norm_order=pre+skip=dense+growth_rate=12.0"
    "+compression=0.5",
    # He et al. 2015, Table 1
    "resnet18-imagenet": f"basic-d2.2.2.2-{BASIC}+stem=imagenet",
    "resnet34-imagenet": f"basic-d3.4.6.3-{BASIC}+stem=imagenet",
    "resnet50-imagenet": f"bottleneck-d3.4.6.3-{BOTTLENECK}+stem=imagenet",
    "resnet101-imagenet": f"bottleneck-d3.4.23.3-{BOTTLENECK}+stem=imagenet",
    "resnet152-imagenet": f"bottleneck-d3.8.36.3-{BOTTLENECK}+stem=imagenet",
    # He et al. 2019, Fig. 2
    "resnet18-d-imagenet": f"basic-d2.2.2.2-{BASIC}{D}",
    "resnet34-d-imagenet": f"basic-d3.4.6.3-{BASIC}{D}",
    "resnet50-d-imagenet": f"bottleneck-d3.4.6.3-{BOTTLENECK}{D}",
    "resnet101-d-imagenet": f"bottleneck-d3.4.23.3-{BOTTLENECK}{D}",
    "resnet152-d-imagenet": f"bottleneck-d3.8.36.3-{BOTTLENECK}{D}",
    "wide-resnet50-2-imagenet": f"bottleneck-d3.4.6.3-{BOTTLENECK}+bottleneck_ratio=0.5{RESNEXT}",
    # Xie et al. 2017, Tables 1 and 2
    "resnext50-32x4d-imagenet": f"bottleneck-d3.4.6.3-{BOTTLENECK}+bottleneck_ratio=0.5+group_width=4.8.16.32{RESNEXT}",
    "resnext101-32x4d-imagenet": f"bottleneck-d3.4.23.3-{BOTTLENECK}+bottleneck_ratio=0.5+group_width=4.8.16.32"
    f"{RESNEXT}",
    "resnext101-32x8d-imagenet": f"bottleneck-d3.4.23.3-{BOTTLENECK}+bottleneck_ratio=1.0+group_width=8.16.32.64"
    f"{RESNEXT}",
    "resnext152-32x4d-imagenet": f"bottleneck-d3.8.36.3-{BOTTLENECK}+bottleneck_ratio=0.5+group_width=4.8.16.32"
    f"{RESNEXT}",
    # Hu et al. 2018: reduction 16
    "se-resnet50-imagenet": f"bottleneck-d3.4.6.3-{BOTTLENECK}+se_ratio=0.0625+se_position=outer+stem=imagenet",
    # Huang et al. 2017, Table 1: growth rate 32 from 64 channels, halved by each transition
    "densenet121-imagenet": f"dense_bottleneck-d6.12.24.16-w256.512.1024.1024{DENSE}",
    "densenet169-imagenet": f"dense_bottleneck-d6.12.32.32-w256.512.1280.1664{DENSE}",
    "densenet201-imagenet": f"dense_bottleneck-d6.12.48.32-w256.512.1792.1920{DENSE}",
    # Liu et al. 2022, section 3
    "convnext-tiny-imagenet": "convnext-d3.3.9.3-w96.192.384.768+skip=layerscale+stem=patch",
    "convnext-small-imagenet": "convnext-d3.3.27.3-w96.192.384.768+skip=layerscale+stem=patch",
    # Tan and Le 2019, Table 1
    "efficientnet-b0-imagenet": "inverted-d1.2.2.3.3.4.1-w16.24.40.80.112.192.320+strides=1.2.2.2.1.2.1"
    "+bottleneck_ratio=1.0:6.0:6.0:6.0:6.0:6.0:6.0+se_ratio=0.25+kernel_size=3.3.5.3.5.5.3+activation=silu+stem=simple"
    "+stem_width=32+head_width=1280",
}

# Radosavovic et al. 2020: blocks, widths and group widths of pycls' model zoo
REGNETS = [
    ("x-200mf", "1.1.4.7", "24.56.152.368", "8"),
    ("x-400mf", "1.2.7.12", "32.64.160.384", "16"),
    ("x-600mf", "1.3.5.7", "48.96.240.528", "24"),
    ("x-800mf", "1.3.7.5", "64.128.288.672", "16"),
    ("x-1.6gf", "2.4.10.2", "72.168.408.912", "24"),
    ("x-3.2gf", "2.6.15.2", "96.192.432.1008", "48"),
    ("x-4.0gf", "2.5.14.2", "80.240.560.1360", "40"),
    ("x-6.4gf", "2.4.10.1", "168.392.784.1624", "56"),
    ("x-8.0gf", "2.5.15.1", "80.240.720.1920", "80.120.120.120"),
    ("x-12gf", "2.5.11.1", "224.448.896.2240", "112"),
    ("x-16gf", "2.6.13.1", "256.512.896.2048", "128"),
    ("x-32gf", "2.7.13.1", "336.672.1344.2520", "168"),
    ("y-200mf", "1.1.4.7", "24.56.152.368", "8"),
    ("y-400mf", "1.3.6.6", "48.104.208.440", "8"),
    ("y-600mf", "1.3.7.4", "48.112.256.608", "16"),
    ("y-800mf", "1.3.8.2", "64.128.320.768", "16"),
    ("y-1.6gf", "2.6.17.2", "48.120.336.888", "24"),
    ("y-3.2gf", "2.5.13.1", "72.216.576.1512", "24"),
    ("y-4.0gf", "2.6.12.2", "128.192.512.1088", "64"),
    ("y-6.4gf", "2.7.14.2", "144.288.576.1296", "72"),
    ("y-8.0gf", "2.4.10.1", "168.448.896.2016", "56"),
    ("y-12gf", "2.5.11.1", "224.448.896.2240", "112"),
    ("y-16gf", "2.4.11.1", "224.448.1232.3024", "112"),
    ("y-32gf", "2.5.12.1", "232.696.1392.3712", "232"),
]


def _regnet(key: str, depths: str, widths: str, groups: str) -> str:
    squeezed = "+se_ratio=0.25" if key[0] == "y" else ""
    stem = "" if widths.startswith("32.") else "+stem_width=32"
    return f"bottleneck-d{depths}-w{widths}+bottleneck_ratio=1.0+group_width={groups}{squeezed}+stem=simple{stem}"


EXPECTED = TABLES | {f"regnet{row[0]}-imagenet": _regnet(*row) for row in REGNETS}


def test_presets_are_the_published_tables() -> None:
    made = module._published()
    assert {name: network.name for name, network in made.items()} == EXPECTED
    assert presets() == list(PRESETS) == list(made)
    assert all(Architecture.preset(name) == network for name, network in made.items())


@pytest.mark.parametrize(
    ("name", "summary"),
    [
        ("resnet56-cifar", "depth 56, He et al. 2015"),
        ("resnet110-a-cifar", "depth 110, He et al. 2015"),
        ("preresnet164-cifar", "depth 164, He et al. 2016"),
        ("wrn-28-10-cifar", "depth 26, Zagoruyko and Komodakis 2016"),
        ("densenet100-bc-12-cifar", "depth 100, Huang et al. 2017"),
        ("resnet50-imagenet", "depth 50, He et al. 2015"),
        ("densenet121-imagenet", "depth 121, Huang et al. 2017"),
        ("densenet201-imagenet", "depth 201, Huang et al. 2017"),
        ("resnet50-d-imagenet", "depth 52, He et al. 2019"),
        ("wide-resnet50-2-imagenet", "depth 50, Zagoruyko and Komodakis 2016"),
        ("resnext101-32x8d-imagenet", "depth 101, Xie et al. 2017"),
        ("se-resnet50-imagenet", "depth 50, Hu et al. 2018"),
        ("convnext-tiny-imagenet", "depth 59, Liu et al. 2022"),
        ("regnetx-200mf-imagenet", "depth 41, Radosavovic et al. 2020"),
        ("regnety-32gf-imagenet", "depth 62, Radosavovic et al. 2020"),
        ("efficientnet-b0-imagenet", "depth 50, Tan and Le 2019"),
    ],
)
def test_the_list_says_depth_and_paper(name: str, summary: str) -> None:
    assert module._summary(name, Architecture.preset(name)) == summary
    assert PRESETS.entry(name).summary == summary


def test_the_input_is_that_of_the_published_data() -> None:
    assert published_input("resnet56-cifar") == (3, 32, 32)
    assert published_input("resnext50-32x4d-imagenet") == (3, 224, 224)


def test_the_input_of_a_plugins_preset_follows_its_classes() -> None:
    from ressearch.registry import unchanged

    with unchanged():
        PRESETS.add("mine", Architecture(), maker=test_presets_are_the_published_tables)
        PRESETS.add("mine-deep", Architecture(stem="deep"), maker=test_presets_are_the_published_tables)
        assert published_input("mine") == (3, 32, 32)
        assert published_input("mine-deep") == (3, 224, 224)
    with pytest.raises(ArchitectureError, match="preset 'mine-deep' is unknown; known: "):
        published_input("mine-deep")
