import numpy as np
from figure_examples import EXAMPLES, INDEX, has_line, titles


def test_appendix_figure_1_draws_the_neurons_their_mixture_and_what_was_found():
    figure, args = EXAMPLES["appendix_figure_1"]()
    figure = figure.page
    index, neurons, mixture, found, rho, variances, kept = args
    a, b, c, d, e = figure.axes
    for ax, columns in ((a, neurons), (b, mixture), (c, neurons), (c, found)):
        for column in columns.T:
            assert has_line(ax, index, column)
    for values in rho.values():
        assert has_line(d, np.arange(1, 6), values)
    for name, share in variances.items():
        assert has_line(e, np.arange(1, 4), share)
        assert has_line(e, [kept[name]], [share[kept[name] - 1]])
    labels = [text.get_text() for text in e.get_legend().get_texts()]
    assert labels == ["B: 2 kept", "C: 3 kept"]
    assert [title[:3] for title in titles(figure)] == ["(a)", "(b)", "(c)", "(d)", "(e)"]


def test_figure_1_overlays_each_pair_and_states_its_correlation():
    figure, views = EXAMPLES["figure_1"]()
    figure = figure.page
    panels = [ax for ax in figure.axes if ax.axison]
    assert len(panels) == 9
    for i, ax in enumerate(panels):
        column, row = divmod(i, 3)
        pairs = list(views.values())[column]
        assert has_line(ax, INDEX, pairs.net_1[:, row])
        assert has_line(ax, INDEX, pairs.net_2[:, row])
        assert [text.get_text() for text in ax.texts] == [f"r = {pairs.correlations[row]:.2f}"]
    assert sorted(titles(figure)) == ["(a) Network", "(b) neurons", "(c) SVD", "(d) SVCCA"]
    assert [t.get_text() for t in figure.legends[0].get_texts()] == ["network 1", "network 2"]


def test_figure_3_draws_every_output_on_top_of_the_original():
    figure, outputs = EXAMPLES["figure_3"]()
    figure = figure.page
    original = outputs["all"]
    for ax, values in zip(figure.axes, outputs.values(), strict=True):
        assert len(ax.lines) == (4 if values is original else 8)
        for column in (*values.T, *original.T):
            assert has_line(ax, INDEX, column)
    assert titles(figure) == list(outputs)
    assert [text.get_text() for text in figure.axes[2].texts] == ["R² = 0.1235"]
