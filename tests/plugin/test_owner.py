"""Contract O: a conversation belongs to whoever runs the turn, whatever runs the tests, in whatever order.

The texts `{recall:…}` are answered from the session that was really resumed, so they cannot be canned.
"""

from __future__ import annotations

import pytest
from eval_runs import RECALL, Evals, shell, turn

# -- every scope, every order

ROOT = """
    import pytest

    @pytest.fixture(scope="session")
    def country(kiro):
        told = kiro.run("The word is norway.")
        yield told
        again = kiro.run("Which word?")
        assert again.text == "norway" and again.workspace is told.workspace
        assert again.workspace.exec("pwd").ok

    @pytest.fixture
    def ask(kiro):
        def asked(turn):
            return turn.conversation.run("Which word?").text
        return asked
"""
PACKAGE = """
    import pytest

    @pytest.fixture(scope="package")
    def region(kiro, country):
        told = kiro.run("The word is viken.")
        yield told
        assert kiro.run("Which word?").text == "viken"
"""
MODULE = """
    import os, pytest

    places = {}

    @pytest.fixture(scope="module")
    def city(kiro, region, country, request):
        kiro.run("The word is oslo.")
        request.getfixturevalue("river")  # another owner's turns, in the middle of ours
        told = kiro.run("Which word?")
        assert told.text == "oslo"
        yield told
        assert kiro.run("Which word?").text == "oslo"

    @pytest.fixture(scope="module")
    def river(kiro):
        yield kiro.run("The word is akerselva.")
        assert kiro.run("Which word?").text == "akerselva"

    @pytest.fixture(scope="module", params=["one", pytest.param("two", id="zwei")])
    def shop(kiro, request):
        yield kiro.run(f"The word is {request.param}.")
        assert kiro.run("Which word?").text == request.param

    @pytest.fixture
    def mine(kiro):
        told = kiro.run("The word is apple.")
        yield told
        assert kiro.run("Which word?").text == "apple"  # the test's own conversation, in its teardown
        assert kiro.workspace is told.workspace

    @pytest.fixture(scope="class")
    def street(kiro, city):
        yield kiro.run("The word is karljohan.")
        assert kiro.run("Which word?").text == "karljohan"

    class TestStreet:
        def test_first(self, kiro, street):
            assert kiro.run("Which word?").text == "unknown"
            assert os.path.isdir(street.workspace.path)

        def test_second(self, kiro, street, city, region, country):
            assert kiro.run("Which word?").text == "unknown"
            homes = [turn.workspace.path for turn in (street, city, region, country)]
            assert len({kiro.workspace.path, *homes}) == 5 and all(map(os.path.isdir, homes))

    def test_turns_of_one_test_are_one_conversation(kiro):
        first = kiro.run("The word is pear.")
        second = kiro.run("Which word?")
        assert second.text == "pear" and second.session_id == first.session_id
        assert (first.number, second.number) == (1, 2)
        assert second.workspace is first.workspace is kiro.workspace

    def test_a_function_fixture_is_the_tests(kiro, mine):
        assert kiro.run("Which word?").text == "apple"
        assert kiro.workspace is mine.workspace and mine.conversation.turns[0] is mine

    @pytest.mark.parametrize("n", [1, 2, 3])
    def test_another_test_starts_clean(kiro, n):
        assert kiro.run(f"The word is plum{n}.").text == "unknown"
        assert kiro.workspace.contents() == {}
        assert kiro.workspace.path not in places.values()
        assert not any(map(os.path.exists, places.values()))  # those before are removed
        places[n] = kiro.workspace.path
        kiro.workspace.seed({"a.txt": "x"})

    def test_parameter(kiro, shop, request):
        word = "one" if "[one]" in request.node.name else "two"
        assert word in shop.prompt and kiro.run("Which word?").text == "unknown"

    def test_parameter_by_hand(kiro, shop, ask):
        assert ask(shop) in ("one", "two")

    def test_late(kiro, request):
        kiro.run("The word is cherry.")
        late = request.getfixturevalue("river")
        assert kiro.run("Which word?").text == "cherry"
        assert late.workspace is not kiro.workspace

    def test_by_hand(kiro, city, ask):
        assert ask(city) == "oslo"
        assert kiro.run("Which word?").text == "unknown"

    def test_one_more_conversation(kiro):
        kiro.run("The word is grape.")
        other = kiro.conversation()
        assert other.run("Which word?").text == "unknown"
        assert other.workspace is not kiro.workspace
        other.run("The word is melon.")
        assert other.run("Which word?").text == "melon"
        assert kiro.run("Which word?").text == "grape"
"""
ASK = [RECALL] * 30
TESTS = {
    "TestStreet.test_first": [RECALL],
    "TestStreet.test_second": [RECALL],
    "test_turns_of_one_test_are_one_conversation": [RECALL] * 2,
    "test_a_function_fixture_is_the_tests": ["OK", RECALL, RECALL],
    "test_another_test_starts_clean": [RECALL],
    "test_parameter": [RECALL],
    "test_late": ["OK", RECALL],
    "test_by_hand": [RECALL],
    "test_one_more_conversation": ["OK", RECALL, *[turn([RECALL], conversation=2)] * 3],
    "fixture:city": ["OK", *ASK],
    "fixture:river": ["OK", RECALL],
    "fixture:street": ["OK", RECALL],
    "fixture:shop[one]": ["OK", *ASK],
    "fixture:shop[zwei]": ["OK", *ASK],
}
PASSED = 14


def write_everything(evals: Evals) -> None:
    evals.write("conftest.py", ROOT, {"fixture:country": ["OK", *ASK]})
    evals.write("pkg/__init__.py", "")
    evals.write("pkg/conftest.py", PACKAGE, {"fixture:region": ["OK", *ASK]})
    evals.write("pkg/test_it.py", MODULE, TESTS)


@pytest.mark.parametrize(
    "way",
    [
        "",
        "-n2",
        "-n2 --dist=loadscope",
        "--randomly-seed=1",
        "--randomly-seed=3 -n2",
    ],
)
def test_every_scope_keeps_its_own(evals: Evals, way: str) -> None:
    write_everything(evals)
    result = evals.process(*way.split(), randomly="randomly" in way)
    result.assert_outcomes(passed=PASSED)
    assert ("2 workers" in result.stdout.str()) == ("-n2" in way)


def test_a_selection_keeps_its_own(evals: Evals) -> None:
    write_everything(evals)
    result = evals.process("-k", "late or by_hand or second", "-n2", "--dist=loadscope")
    result.assert_outcomes(passed=5)


# -- attempts


def test_an_attempt_never_continues_the_failed_ones(evals: Evals) -> None:
    evals.write(
        "test_it.py",
        """
        import os, pytest
        places, attempts = [], []

        @pytest.fixture
        def mine(kiro):
            assert kiro.run("The word is apple.").text == "unknown"

        @pytest.fixture(scope="module")
        def shop(kiro):
            attempts.append(kiro.workspace.path)
            told = kiro.run("The word is till.")
            assert told.text == "unknown"
            assert len(attempts) > 1, "the first attempt fails"
            return told

        def test_again(kiro, mine):
            assert kiro.run("Which word?").text == "apple"
            assert kiro.workspace.contents() == {}
            assert not any(map(os.path.exists, places))
            places.append(kiro.workspace.path)
            kiro.workspace.seed({"left.txt": ""})
            assert len(places) == 3

        def test_wide(kiro, shop):
            assert kiro.run("Which word?").text == "unknown"
            assert shop.conversation.run("Which word?").text == "till"
            assert len(set(attempts)) == 2

        def test_same_instance(shop):
            assert len(shop.conversation.turns) == 2
        """,
        {"test_again": [RECALL] * 2, "test_wide": [RECALL], "fixture:shop": [RECALL] * 2},
    )
    result = evals.process("--reruns=2", "-rR")
    assert result.parseoutcomes() == {"passed": 3, "rerun": 3}
    result.stdout.fnmatch_lines(["kiro: 10 turns, 10 completed"])


def test_last_failed_starts_clean(evals: Evals) -> None:
    source = """
        def test_one(kiro):
            assert kiro.run("The word is apple.").text == "unknown"
            assert kiro.run("Which word?").text == "pear"

        def test_two(kiro):
            assert kiro.run("Which word?").text == "unknown"
        """
    evals.write("test_it.py", source, {"test_one": [RECALL, RECALL], "test_two": [RECALL]})
    evals.run().assert_outcomes(failed=1, passed=1)
    evals.write("test_it.py", source.replace("pear", "apple"))
    evals.run("--lf").assert_outcomes(passed=1)


# -- how long a workspace lives


def test_workspaces_live_as_long_as_their_owner(evals: Evals) -> None:
    evals.note()
    evals.write(
        "test_a.py",
        """
        import os, pytest
        from note import note
        places = {}

        @pytest.fixture(scope="module")
        def shop(kiro, request):
            kiro.workspace.seed({"till.txt": "1"})
            places["shop"] = kiro.workspace.path
            request.addfinalizer(lambda: note("finalizer", kiro.workspace.path == places["shop"]))
            yield kiro.workspace
            note("teardown", (kiro.workspace / "till.txt").read_text())

        @pytest.fixture
        def mine(kiro):
            yield kiro.workspace
            note("mine", kiro.workspace.contents() == {"a": b"1"}, kiro.run("Which?").text)

        def test_one(kiro, shop, mine):
            mine.seed({"a": b"1"})
            kiro.conversation().workspace.seed({"b": b"1"})
            places["homes"] = os.path.dirname(str(mine.home))
            assert [len(os.listdir(os.path.dirname(path))) for path in (mine.path, shop.path)] == [3, 1]
            assert homes() == {str(mine.home), str(shop.home)}

        def homes():
            return {entry.path for entry in os.scandir(places["homes"]) if entry.is_dir()}

        def test_two(shop):
            assert homes() == {str(shop.home)}
            assert shop.contents() == {"till.txt": b"1"}

        def test_names_tell_nothing(kiro):
            home, name = os.path.split(kiro.workspace.path)
            assert os.path.basename(home) == "work" and len(name) == 8 and int(name, 16) >= 0
            assert "test" not in kiro.workspace.path and "pytest" not in kiro.workspace.path

        @pytest.fixture(scope="module")
        def broken(kiro):
            kiro.workspace.seed({"x": ""})
            kiro.run("The word is lost.")
            raise ValueError("no")

        def test_broken(broken):
            pass
        """,
        {"test_one": ["Done."], "fixture:broken": ["OK"]},
    )
    evals.write(
        "test_b.py",
        """
        import os
        from test_a import places

        def test_three():
            assert not any(entry.is_dir() for entry in os.scandir(places["homes"]))
        """,
    )
    result = evals.run()
    result.assert_outcomes(passed=4, errors=1)
    result.stdout.fnmatch_lines(["*kiro turns*", "turn 1 completed in * s: The word is lost."])
    assert evals.story == ["mine True Done.", "teardown 1", "finalizer True"]


# -- where an owner stands


def test_relative_workspaces_start_where_the_owner_stands(evals: Evals) -> None:
    for folder in ("seeds", "sub/seeds"):
        evals.write(f"{folder}/where.txt", folder)
    evals.write(
        "conftest.py",
        """
        import pytest

        @pytest.fixture(scope="module")
        def shared(kiro):
            return kiro.workspace

        @pytest.fixture(scope="module")
        def more(kiro):
            return kiro.conversation(workspace="seeds").workspace

        @pytest.fixture
        def own(kiro):
            return kiro.workspace
        """,
    )
    evals.write(
        "sub/test_it.py",
        """
        import pytest
        pytestmark = pytest.mark.kiro(workspace="seeds")

        def test_own(kiro, own, shared, more):
            assert own is kiro.workspace
            assert own.contents() == {"where.txt": b"sub/seeds"}
            assert kiro.conversation(workspace="../seeds").workspace.contents() == {"where.txt": b"seeds"}
            # a wider fixture reads the mark of its node, and starts at the file that defines it
            assert shared.contents() == more.contents() == {"where.txt": b"seeds"}
            assert shared.path != more.path

        @pytest.mark.kiro(workspace="../seeds")
        def test_closest(kiro):
            assert kiro.workspace.contents() == {"where.txt": b"seeds"}
        """,
    )
    evals.run("sub").assert_outcomes(passed=2)


def test_run_args_hold_in_their_folder(evals: Evals) -> None:
    override = """
        import pytest

        @pytest.fixture(scope="session")
        def kiro_run_args({}):
            return dict({}model="{}", env={{"FOLDER": "{}"}})
        """
    source = """
        import pytest

        @pytest.fixture(scope="module")
        def wide(kiro):
            return kiro.run("Hello.")

        def test_args(kiro, wide):
            model, folder = {!r}
            for turn in (kiro.run("Hello."), wide):
                assert turn.model == model
                assert turn.tool_calls[0].output == folder + "\\n"
        """
    tables = {name: [turn([shell("echo $FOLDER")], ["Done."])] for name in ("test_args", "fixture:wide")}
    evals.write("conftest.py", override.format("", "", "claude-haiku-4.5", "root"))
    evals.write("a/conftest.py", override.format("kiro_run_args", "kiro_run_args, ", "claude-sonnet-4.5", "a"))
    for file, expected in {
        "a/test_a.py": ("claude-sonnet-4.5", "a"),
        "test_b.py": ("claude-haiku-4.5", "root"),
        "c/test_c.py": ("claude-haiku-4.5", "root"),
        "a/d/test_d.py": ("claude-sonnet-4.5", "a"),
    }.items():
        evals.write(file, source.format(expected), tables)
    evals.run().assert_outcomes(passed=4)


def test_run_args_of_a_test_are_no_wider_fixtures(evals: Evals) -> None:
    evals.write(
        "test_it.py",
        """
        import pytest

        @pytest.fixture
        def kiro_run_args(request):
            return {"model": request.node.callspec.params["model"]}

        @pytest.fixture(scope="module")
        def tools(kiro):
            kiro.sandbox.exec("touch tools").check()  # no turn, so it asks for none

        @pytest.fixture(scope="module")
        def wide(kiro):
            kiro.run("Hello.")

        @pytest.fixture(autouse=True)
        def last_words(kiro, model):
            yield
            assert kiro.run("Bye.").model == model

        @pytest.mark.parametrize("model", ["claude-haiku-4.5", "claude-sonnet-4.5"])
        def test_model(tools, model):
            pass

        @pytest.mark.parametrize("model", ["auto"])
        def test_wide(wide, model):
            pass
        """,
        {"test_model": ["Bye."], "fixture:wide": ["OK"], "test_wide": ["Bye."]},
    )
    result = evals.run()
    result.assert_outcomes(passed=2, errors=1)
    result.stdout.fnmatch_lines(["*ScopeMismatch: You tried to access the function scoped fixture kiro_run_args with*"])


# -- whose sandbox


SANDBOX_ARGS = """
    import pytest

    @pytest.fixture(scope="session")
    def kiro_sandbox_args():
        return {"env": {"PLANET": "mars"}}
"""
SANDBOX = """
    import pytest
    from pytest_kiro.sandbox.local import LocalProvider
    from pytest_kiro.sandbox.protocol import SandboxSpec

    @pytest.fixture(scope="session")
    def kiro_sandbox(kiro_settings):
        sandbox = LocalProvider(kiro_settings).create(SandboxSpec(env={"PLANET": "mars"}))
        yield sandbox
        sandbox.close()
"""
PLANET = """
    def test_planet(kiro):
        assert kiro.workspace.exec("echo $PLANET").output.split() == ["mars"]
        assert kiro.run("Which planet?").text == "mars it is"
"""


@pytest.mark.parametrize(("name", "override"), [("kiro_sandbox_args", SANDBOX_ARGS), ("kiro_sandbox", SANDBOX)])
def test_one_sandbox_for_the_whole_session(evals: Evals, name: str, override: str) -> None:
    tables = {"test_planet": ["mars it is"]}
    evals.write("conftest.py", override)
    evals.write("sub/test_root.py", PLANET, tables)
    evals.run().assert_outcomes(passed=1)
    (evals.path / "conftest.py").unlink()

    # Elsewhere it would be a second one, that the tests do not use.
    evals.write("sub/conftest.py", override)
    evals.write("test_it.py", f"{override}\n    def test_own(kiro):\n        pass")
    result = evals.run()
    result.assert_outcomes(errors=2)
    for place in ("sub", "test_it.py"):
        result.stdout.fnmatch_lines([f"E *SettingsError: {place}* overrides the fixture {name}, but there is one*"])
    result.stdout.fnmatch_lines(["*move it to the rootdir's conftest.py or a plugin"])
    assert "sandboxes: created" not in result.stdout.str()


def test_a_sandbox_of_the_evals_own_comes_from_a_plugin_too(evals: Evals) -> None:
    evals.write("planets.py", SANDBOX)
    evals.write("test_it.py", PLANET, {"test_planet": ["mars it is"]})
    result = evals.process("-p", "planets")
    result.assert_outcomes(errors=1)  # pytest prefers the plugin that was loaded last
    result.stdout.fnmatch_lines(["*SettingsError: a plugin overrides the fixture kiro_sandbox, but was loaded before*"])
    evals.write("conftest.py", 'pytest_plugins = ["planets"]')
    evals.process().assert_outcomes(passed=1)


def test_sandbox_args_are_checked(evals: Evals) -> None:
    evals.write("conftest.py", SANDBOX_ARGS.replace("env", "enw"))
    evals.write("test_it.py", PLANET)
    result = evals.run()
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(
        ["E *SettingsError: kiro_sandbox_args has no key 'enw', did you mean env?; known: env*"]
    )


# -- parameters as scenarios and people name them


def test_a_fixtures_parameter_is_named_as_in_the_tests_name(evals: Evals) -> None:
    evals.write(
        "test_it.py",
        """
        import enum, pytest

        class Colour(enum.Enum):
            RED = 1

        def spell(value):
            return "none" if value is None else None

        @pytest.fixture(scope="module", params=["a b", 2, 1.5, True, None, object(), Colour.RED, int])
        def kind(kiro, request):
            return kiro.run("Hello."), request.node

        @pytest.fixture(scope="module", params=[None, "x"], ids=spell)
        def spelt(kiro):
            return kiro.run("Hello.")

        @pytest.fixture(scope="module", params=["x", "y"], ids=["ex", None])
        def listed(kiro):
            return kiro.run("Hello.")

        @pytest.fixture(scope="module")
        def given(kiro, request):
            return kiro.run("Hello.")

        @pytest.fixture(scope="module", params=["plain"])
        def unnamed(kiro):
            return kiro.run("Hello.")

        def test_kind(kind, request):
            assert kind[0].text == request.node.callspec.id

        def test_spelt(spelt, request):
            assert spelt.text == request.node.callspec.id

        def test_listed(listed, request):
            assert listed.text == request.node.callspec.id

        @pytest.mark.parametrize("given", ["one", "two"], indirect=True)
        def test_given(given, request):
            assert given.text == request.node.callspec.id

        def test_without_its_own_table(unnamed):
            assert unnamed.text == "for all parameters"
        """,
        {
            **{
                f"fixture:kind[{name}]": [name]
                for name in ("a b", "2", "1.5", "True", "None", "kind5", "Colour.RED", "int")
            },
            **{f"fixture:spelt[{name}]": [name] for name in ("none", "x")},
            **{f"fixture:listed[{name}]": [name] for name in ("ex", "y")},
            **{f"fixture:given[{name}]": [name] for name in ("one", "two")},
            "fixture:unnamed": ["for all parameters"],
        },
    )
    result = evals.run()
    assert result.parseoutcomes() == {"passed": 15}


LATE = """
    import pytest

    @pytest.fixture(scope="module")
    def shop(request):
        kiro = request.getfixturevalue("kiro")
        yield kiro.run("The word is oslo.")
        assert kiro.run("Which word?").text == "oslo"

    def test_plain(): pass

    def test_late(request):
        told = request.getfixturevalue("shop")
        kiro = request.getfixturevalue("kiro")
        assert kiro.run("Which word?").text == "unknown"
        assert kiro.workspace is not told.workspace
        assert not told.ok
"""


def test_a_run_in_which_only_getfixturevalue_asks_for_kiro(evals: Evals) -> None:
    """When these tests are collected nothing tells that Kiro will be wanted, so all that evals need comes late."""
    evals.write("test_it.py", LATE, {"fixture:shop": ["Noted.", RECALL], "test_late": [RECALL]})
    result = evals.run()
    result.assert_outcomes(passed=1, failed=1)
    text = result.stdout.str()
    assert "kiro: 3 turns, 3 completed" in text
    assert "sandboxes: created 1, deleted 1, leaked 0" in text
    shown = text.partition("- kiro turns -")[2].partition("short test summary")[0]
    assert "fixture:shop" in shown or "The word is oslo" in shown, "a failed test shows the turns that it looked at"
