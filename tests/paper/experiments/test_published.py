from svcca_lib.paper.experiments.published import figure_4
from svcca_lib.paper.training.networks import NetworkConfig, build


def test_the_published_figure_has_the_layers_of_our_networks():
    for name, arch, layers in (("conv", "convnet", 16), ("res", "resnet", 51)):
        network = build(NetworkConfig(arch, (3, 32, 32), 10, width=4), 0)
        for percent in (0, 35, 75, 100):
            labels, matrix = figure_4(name, percent)
            assert labels == network.labels
            assert matrix.shape == (layers, layers)
            assert ((matrix >= 0) & (matrix <= 1)).all()
        assert matrix.diagonal().min() > 0.98  # at 100 %
