"""What several replicates in one module compute, against each alone and against torch's own layers."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from ressearch import Architecture, build
from ressearch.networks.build import build_replicates
from ressearch.networks.replicated import (
    DropoutModule,
    ReplicatedLayerNorm,
    ReplicatedLinear,
    Stochastic,
    channel_axis,
    join_replicates,
    replicate_state,
    set_generators,
    split_replicates,
    spread,
    stack_states,
)


def test_channels_are_first_of_images_and_last_of_others() -> None:
    assert [channel_axis(torch.zeros(shape)) for shape in ((2, 3, 4, 5), (2, 3), (2, 3, 4))] == [1, 1, 2]


def test_splitting_replicates_and_joining_them_again_changes_nothing() -> None:
    vector = torch.arange(6).view(1, 6)
    assert split_replicates(vector, 2).tolist() == [[[0, 1, 2], [3, 4, 5]]]
    assert split_replicates(torch.zeros(2, 6, 4, 5), 3).shape == (2, 3, 2, 4, 5)
    assert split_replicates(torch.zeros(2, 4, 6), 3).shape == (2, 4, 3, 2)
    for input in (vector, torch.randn(2, 6, 4, 5), torch.randn(2, 4, 6)):
        assert torch.equal(join_replicates(split_replicates(input, 2), channel_axis(input)), input)


def test_one_value_per_replicate_is_spread_over_its_channels() -> None:
    values = torch.tensor([1.0, 2.0])
    assert spread(values, torch.zeros(3, 6)).tolist() == [1, 1, 1, 2, 2, 2]
    assert spread(values, torch.zeros(3, 2)).tolist() == [1, 2]
    assert spread(values[:1], torch.zeros(3, 6)).tolist() == [1]
    image = spread(values, torch.zeros(3, 4, 5, 5))
    assert image.shape == (4, 1, 1)
    assert image.flatten().tolist() == [1, 1, 2, 2]
    assert spread(torch.arange(6), torch.zeros(3, 5, 6)).tolist() == [0, 1, 2, 3, 4, 5]


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("shape", [(5,), (5, 7)])
def test_a_replicated_linear_layer_is_one_of_torchs_for_each(bias: bool, shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    alone = [nn.Linear(3, 4, bias) for _ in range(2)]
    layer = ReplicatedLinear(3, 4, bias, 2)
    assert layer.weight.shape == (2, 4, 3)
    assert (layer.bias is None) is not bias
    stack_states(layer, alone)
    inputs = [torch.randn(*shape, 3) for _ in alone]
    expected = torch.cat([one(input) for one, input in zip(alone, inputs, strict=True)], -1)
    torch.testing.assert_close(layer(torch.cat(inputs, -1)), expected)
    assert (layer.in_features, layer.out_features, layer.replicates) == (3, 4, 2)


def test_a_replicated_layer_norm_is_one_of_torchs_for_each() -> None:
    torch.manual_seed(0)
    alone = [nn.LayerNorm(3, eps=0.1) for _ in range(2)]
    layer = ReplicatedLayerNorm(3, 0.1, 2)
    assert layer.weight.tolist() == [[1] * 3] * 2
    assert layer.bias.tolist() == [[0] * 3] * 2
    for one in alone:
        nn.init.normal_(one.weight)
        nn.init.normal_(one.bias)
    stack_states(layer, alone)
    inputs = [torch.randn(4, 5, 3) for _ in alone]
    expected = torch.cat([one(input) for one, input in zip(alone, inputs, strict=True)], -1)
    torch.testing.assert_close(layer(torch.cat(inputs, -1)), expected)


def generators(*seeds: int) -> list[torch.Generator]:
    return [torch.Generator().manual_seed(seed) for seed in seeds]


def test_each_replicate_draws_from_a_stream_of_its_own() -> None:
    module = Stochastic(2)
    module.generators = generators(3, 4)
    drawn = module.uniform((5,), torch.device("cpu"))
    expected = [torch.rand(5, generator=one) for one in generators(3, 4)]
    assert torch.equal(drawn, torch.stack(expected))
    module.generators = None
    torch.manual_seed(7)
    drawn = module.uniform((5,), torch.device("cpu"))
    torch.manual_seed(7)
    assert torch.equal(drawn, torch.rand(2, 5))
    assert module.uniform([2, 3], torch.device("meta")).device.type == "meta"


def test_every_random_module_of_a_network_is_given_the_streams() -> None:
    network = nn.Sequential(DropoutModule(0.5, 2), nn.Sequential(nn.Linear(2, 2), Stochastic(2)))
    streams = generators(1, 2)
    set_generators(network, streams)
    has_streams = [getattr(module, "generators", None) is streams for module in network.modules()]
    assert has_streams == [False, True, False, False, True]


def test_dropout_drops_where_the_draw_is_below_the_rate_and_scales_the_rest() -> None:
    module = DropoutModule(0.25, 2)
    module.generators = generators(3, 4)
    x = torch.ones(5, 6, 2, 2)
    out = module(x)
    kept = [torch.rand(5, 3, 2, 2, generator=one) >= 0.25 for one in generators(3, 4)]
    torch.testing.assert_close(out, torch.cat(kept, 1) / 0.75)
    tokens = DropoutModule(0.25, 2)
    tokens.generators = generators(3, 4)
    kept = [torch.rand(5, 2, 3, generator=one) >= 0.25 for one in generators(3, 4)]
    torch.testing.assert_close(tokens(torch.ones(5, 2, 6)), torch.cat(kept, -1) / 0.75)


def test_dropout_is_the_identity_in_evaluation_and_at_a_rate_of_zero() -> None:
    x = torch.randn(3, 4)
    assert DropoutModule(0.5).eval()(x) is x
    assert DropoutModule(0.0)(x) is x
    assert DropoutModule(0.5).replicates == 1
    assert not torch.equal(DropoutModule(0.5)(x), x)
    assert str(DropoutModule(0.123456789)) == "DropoutModule(rate=0.123457)"


def test_states_are_stacked_and_taken_apart_again() -> None:
    architecture = Architecture("transformer", (1,), (4,), norm="batch")
    alone = []
    for seed in (5, 6):
        torch.manual_seed(seed)
        alone.append(build(architecture, 3, 2))
    for count, one in enumerate(alone):
        for name, buffer in one.named_buffers():
            if "num_batches" in name:
                buffer.fill_(11)
            else:
                buffer.fill_(count + 1)
    together = build_replicates(architecture, [1, 2], 3, 2)
    stack_states(together, alone)
    for index, one in enumerate(alone):
        taken = replicate_state(together, index, one)
        assert list(taken) == list(one.state_dict())
        for name, value in one.state_dict().items():
            assert torch.equal(taken[name], value), name
            assert taken[name].data_ptr() != together.state_dict()[name].data_ptr()


@pytest.mark.parametrize("block", ["basic", "mlp", "transformer"])
def test_replicates_compute_what_each_built_after_its_seed_computes(block: str) -> None:
    architecture = Architecture(block, (1, 1), (4, 8), head_width=6)
    shape = {"image": (2, 5, 5), "vector": (2,), "sequence": (5, 2)}[architecture.modality]
    torch.manual_seed(0)
    state = torch.random.get_rng_state()
    together = build_replicates(architecture, [8, 9], 2, 3).eval()
    assert torch.equal(torch.random.get_rng_state(), state)
    inputs = [torch.randn(4, *shape) for _ in range(2)]
    expected = []
    for seed, input in zip((8, 9), inputs, strict=True):
        torch.manual_seed(seed)
        expected.append(build(architecture, 2, 3).eval()(input))
    axis = 1 if len(shape) == 3 else -1
    torch.testing.assert_close(together(torch.cat(inputs, axis)), torch.cat(expected, -1), rtol=1e-4, atol=1e-5)
    assert together.replicates == 2
    single = build_replicates(architecture, [8], 2, 3).eval()
    assert torch.equal(single(inputs[0]), expected[0])


def test_images_have_three_channels_where_nobody_says_otherwise() -> None:
    architecture = Architecture(depths=(1,), widths=(4,))
    assert build_replicates(architecture, [1, 2])(torch.zeros(2, 6, 4, 4)).shape == (2, 20)
