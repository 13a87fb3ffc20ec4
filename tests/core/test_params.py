"""One declaration of a hyperparameter: default, validation, search space, command-line text, JSON."""

import json

import pytest
from craftbench.core.errors import UsageError
from craftbench.core.params import Params, Space, choice, fixed, integer, real
from hypothesis import given
from hypothesis import strategies as some
from pydantic import ValidationError


class Settings(Params):
    damping: float = real(1e-4, low=1e-7, high=1e-3, log=True, minimum=0.0, grid=(1e-5, 1e-4), help="added to the diagonal")
    hops: int = integer(1, low=0, high=2, minimum=0, maximum=8)
    solver: str = choice("cg", "adam")
    dim: int = choice(32, 48, 64)
    patience: int = fixed(10, minimum=1)
    graph: str = fixed("old", options=("old", "new"))
    exact: bool = fixed(False)


def test_declared_once_and_found_in_order():
    first, *_, last = Settings.declared()
    assert [each.name for each in Settings.declared()] == ["damping", "hops", "solver", "dim", "patience", "graph", "exact"]
    assert (first.default, first.minimum, first.maximum, first.grid) == (1e-4, 0.0, None, (1e-5, 1e-4))
    assert (first.help, first.space) == ("added to the diagonal", Space(low=1e-7, high=1e-3, log=True))
    assert last.space is None


def test_only_what_may_be_searched_has_a_space():
    assert list(Settings.spaces()) == ["damping", "hops", "solver", "dim"]
    assert Settings.spaces()["hops"] == Space(low=0, high=2, integer=True)
    assert Settings.spaces()["solver"].choices == ("cg", "adam")


def test_a_subclass_adds_to_what_it_inherits():
    class More(Settings):
        more: int = fixed(1)

    assert [each.name for each in More.declared()] == [*Settings.model_fields, "more"]


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"damping": -1.0}, "Settings: damping=-1.0: Input should be greater than or equal to 0"),
        ({"hops": 9}, "Settings: hops=9: Input should be less than or equal to 8"),
        ({"hops": 1.5}, "Settings: hops=1.5: Input should be a valid integer"),
        ({"patience": 0}, "patience=0: Input should be greater than or equal to 1"),
        ({"damping": float("nan")}, "damping=nan"),
        ({"damping": "much"}, "damping='much': Input should be a valid number"),
        ({"solver": "bfgs"}, "solver='bfgs' is not one of 'cg', 'adam'"),
        ({"dim": 40}, "dim=40 is not one of 32, 48, 64"),
        ({"graph": "none"}, "graph='none' is not one of 'old', 'new'"),
        ({"dampin": 1e-5}, "unknown parameter 'dampin'; did you mean 'damping'?"),
    ],
)
def test_what_is_wrong_is_named_with_its_bounds(values, sentence):
    with pytest.raises(UsageError) as error:
        Settings.resolve(values)
    assert sentence in str(error.value)
    assert "\n" not in str(error.value)


def test_frozen():
    with pytest.raises(ValidationError):
        Settings().hops = 2


@given(
    some.builds(
        dict,
        damping=some.floats(0, 1e9),
        hops=some.integers(0, 8),
        solver=some.sampled_from(["cg", "adam"]),
        patience=some.integers(1, 10**9),
        exact=some.booleans(),
    )
)
def test_json_both_ways_to_the_last_bit(values):
    params = Settings.resolve(values)
    assert Settings.resolve(json.loads(json.dumps(params.model_dump()))) == params


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("damping", "1e-5", 1e-5),
        ("damping", "0", 0.0),
        ("hops", "2", 2),
        ("solver", "adam", "adam"),
        ("dim", "48", 48),
        ("exact", "true", True),
        ("exact", "True", True),
    ],
)
def test_text_of_a_command_line(name, text, value):
    found = Settings.parse(name, text)
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(("name", "text"), [("hops", "two"), ("hops", "9"), ("solver", "bfgs"), ("hop", "1"), ("exact", "2")])
def test_text_that_does_not_fit(name, text):
    with pytest.raises(UsageError, match=name):
        Settings.parse(name, text)


@pytest.mark.parametrize(
    ("space", "inner", "outer"),
    [
        (Space(low=0.0, high=1.0), (0.021, 0.5, 0.979), (0.0, 0.019, 0.981, 1.0)),
        (Space(low=1e-4, high=1.0, log=True), (1.3e-4, 1e-2, 0.8), (1e-4, 1.1e-4, 0.9, 1.0)),
        (Space(choices=("a", "b")), ("a", "b"), ()),
    ],
)
def test_edge_of_a_range(space, inner, outer):
    assert not any(space.on_edge(value) for value in inner)
    assert all(space.on_edge(value) for value in outer)
