import pytest

from svcca_lib.paper.chapter.provenance import ShownFigure, artefact


def test_artefact_is_a_set_of_keys():
    assert artefact(["a", "b"]) == artefact(["b", "a", "a"]) != artefact(["a"])
    assert artefact([]) == ""


@pytest.mark.parametrize(
    ("name", "figure"),
    [
        ("figure-2a", "Figure 2a"),
        ("figure-4-differences", "Figure 4"),
        ("appendix-figure-6", "Appendix Figure 6"),
        ("appendix-c", None),
        ("figure-perplexity", None),
        ("figure-app-1", None),
    ],
)
def test_name_says_which_figure_of_the_paper(name, figure):
    assert ShownFigure(name).of_the_paper == figure
