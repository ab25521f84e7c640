"""The register of claims: complete, and not to be moved without a word."""

import datetime
import itertools
import subprocess
import tomllib
from dataclasses import replace

import pytest

from svcca_lib.paper.chapter.claims import KINDS, Rule
from svcca_lib.paper.chapter.gathered import LEDGER, Book
from svcca_lib.paper.chapter.register import PATH, Register, registered
from svcca_lib.paper.publishing import site
from svcca_lib.paper.store.paths import REPOSITORY as ROOT

ENTRY = """
[[claim]]
chapter = "02-x"
id = "a"
kind = "paper"
figure = "Figure 2a"
statement = "the first {few} suffice"
rule = "at least 0.5"
null = ""
registered = 2026-10-01
"""
CHANGE = """
  [[claim.change]]
  date = 2026-10-05
  commit = "abc"
  was = "rule: at least 0.9"
  now = "rule: at least 0.5"
  why = "the number had been seen"
"""


def read(tmp_path, text):
    path = tmp_path / "register.toml"
    path.write_text(text)
    return Register.read(path)


def test_entry_and_its_change_are_read(tmp_path):
    [claim] = read(tmp_path, ENTRY + CHANGE).chapter("02-x").values()
    assert (claim.rule, claim.registered) == (Rule(low=0.5), datetime.date(2026, 10, 1))
    [change] = claim.changes
    assert (change.was, change.commit) == ("rule: at least 0.9", "abc")
    assert claim.last_change == datetime.date(2026, 10, 5)
    assert claim.worded({"few": 25}) == "the first 25 suffice"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (ENTRY.replace('kind = "paper"\n', ""), "'a' is registered without kind"),
        (ENTRY.replace('"paper"', '"theirs"'), "kind of 'a' must be one of"),
        (ENTRY.replace("at least 0.5", "big"), "a rule must read"),
        (ENTRY * 2, "registers 'a' of 02-x twice"),
        (ENTRY + CHANGE.replace("the number had been seen", " "), "it lacks why"),
        (ENTRY + CHANGE.replace("  date = 2026-10-05\n", ""), "needs date"),
        (ENTRY + CHANGE.replace("now = ", "later = "), "it lacks now"),
        # the rule was moved, and no change leads there
        (ENTRY.replace("0.5", "0.4") + CHANGE, "changed to 'rule: at least 0.5', but has 'rule: "),
        (ENTRY + CHANGE + CHANGE, "miss a step"),
    ],
)
def test_incomplete_or_broken_entry_is_refused(tmp_path, text, message):
    with pytest.raises(ValueError, match=message):
        read(tmp_path, text)


def test_rule_predates_cifar10_only_if_it_was_not_changed_since(tmp_path):
    run = '[cifar10]\n"02-x" = 2026-10-03\n'
    for text, before in ((ENTRY, True), (ENTRY + CHANGE, False)):
        register = read(tmp_path, run + text)
        [claim] = register.claims.values()
        assert register.predates_cifar10(claim) is before


class TestTheBook:
    def test_every_chapter_makes_the_claims_that_are_registered_for_it(self):
        """Or omits them, and says why: chapter 14 needs photographs that quick has not."""
        chapters = Book.gather("quick").chapters.items()
        made = {(n, c.id) for n, of in chapters for c in of.claims}
        omitted = {(n, id) for n, of in chapters for id, _ in of.omitted}
        assert not made & omitted
        assert {n for n, _ in omitted} <= {"14-imagenet", "15-words"}
        live = {key for key, claim in registered().claims.items() if claim.withdrawn is None}
        assert made | omitted == live
        assert {chapter for chapter, _ in live} == set(site.chapters(ROOT)) - {LEDGER}

    @pytest.mark.parametrize("profile", ["quick", "cifar10"])
    def test_stored_claims_are_decided_as_registered(self, profile):
        """A rule, statement, null or kind that differs from the register is an error."""
        for name, stored in Book.gather(profile).chapters.items():
            for claim in stored.claims:
                entry = registered().claims[name, claim.id]
                assert differences(entry, claim) == []

    def test_a_changed_rule_is_noticed(self):
        name, stored = next(iter(Book.gather("quick").chapters.items()))
        claim = stored.claims[0]
        moved = replace(registered().claims[name, claim.id], rule=Rule(low=-1.0))
        assert differences(moved, claim) == ["rule"]

    def test_all_kinds_are_there(self):
        assert {claim.kind for claim in registered().claims.values()} == set(KINDS)

    def test_no_change_was_made_without_an_entry(self):
        """Every version of the register in git's history: what changed has an entry saying so."""
        versions = history()
        if len(versions) < 2:
            pytest.skip("needs the history of book/register.toml in git: a full clone")
        for before, after in itertools.pairwise(versions):
            assert unexplained(before, after) == []

    def test_a_change_without_an_entry_is_noticed(self):
        now = tomllib.loads(PATH.read_text(encoding="utf-8"))
        moved = tomllib.loads(PATH.read_text(encoding="utf-8"))
        moved["claim"][0]["rule"] = "at least -1"
        key = (moved["claim"][0]["chapter"], moved["claim"][0]["id"])
        assert unexplained(now, moved) == [(*key, "rule")]
        moved["claim"][0].setdefault("change", []).append({"now": "rule: at least -1"})
        assert unexplained(now, moved) == []
        del moved["claim"][1]
        assert [part for *_, part in unexplained(now, moved)] == ["removed"]


def differences(entry, claim):
    """Name what a stored claim has otherwise than its entry; placeholders match any words."""
    pieces = [piece.split("}", 1)[-1] for piece in entry.statement.split("{")]
    alike = claim.statement
    for piece in filter(None, pieces):
        _, found, alike = alike.partition(piece)
        if not found:
            return ["statement"]
    pairs = {
        "kind": (entry.kind, claim.kind),
        "figure": (entry.figure, claim.figure),
        "rule": (entry.rule, claim.rule),
        "null": (entry.null, claim.null_name),
        "changed": (bool(entry.changes), claim.changed),
    }
    return [name for name, (registered, stored) in pairs.items() if registered != stored]


def git(*arguments):
    command = ["git", "-C", str(ROOT), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def history():
    """Return the committed versions of the register, oldest first, and the present one."""
    name = "book/register.toml"
    try:
        commits = git("log", "--first-parent", "--reverse", "--format=%H", "--", name).split()
        texts = [git("show", f"{commit}:{name}") for commit in commits]
    except (OSError, subprocess.CalledProcessError):
        return []
    return [tomllib.loads(text) for text in (*texts, PATH.read_text(encoding="utf-8"))]


def unexplained(before, after):
    """Return (chapter, id, what) of the changes between two versions that no entry explains."""
    later = {(c["chapter"], c["id"]): c for c in after["claim"]}
    found = []
    for claim in before["claim"]:
        key = claim["chapter"], claim["id"]
        if key not in later:
            found.append((*key, "removed"))
            continue
        said = {change["now"] for change in later[key].get("change", ())}
        kept = [
            change for change in claim.get("change", ()) if change in later[key].get("change", ())
        ]
        if len(kept) < len(claim.get("change", ())):
            found.append((*key, "change"))  # what was told once stays told
        for part in ("statement", "rule", "null"):
            now = f"{part}: {later[key][part] or 'none'}"
            if claim[part] != later[key][part] and now not in said:
                found.append((*key, part))
    return found
