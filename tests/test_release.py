"""What a release is made of: workflows, the lock, the recipe, and the record for an archive.

The tools that look at it have an environment of their own, which `make test` makes.
"""

import json
import re
import shutil
import subprocess
import tomllib
import zipfile

import pytest

from svcca_lib.paper.publishing import archive, crate, croissant
from svcca_lib.paper.store.paths import REPOSITORY as ROOT

CHECKS = ROOT / ".venv" / "checks" / "bin"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
needs_checks = pytest.mark.skipif(
    not CHECKS.is_dir(), reason="the environment .venv/checks is not there: make test makes it"
)
CHAPTER = "02-distributed-representations.ipynb"


def run(tool, *arguments, cwd=ROOT):
    command = [CHECKS / tool, *map(str, arguments)]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)


@needs_checks
def test_the_project_is_set_up_as_scientific_python_asks():
    done = run("repo-review", "--format", "json", ".")
    assert done.returncode == 0, done.stdout
    checks = json.loads(done.stdout)["checks"]
    assert len(checks) > 40
    failing = [name for name, check in checks.items() if check["result"] is False]
    assert not failing


@needs_checks
def test_workflows_have_no_known_weakness():
    done = run("zizmor", "--offline", "--no-progress", ".github")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "No findings" in done.stdout + done.stderr


def test_actions_are_pinned_by_hash_alike_everywhere():
    pins = {}
    for path in (ROOT / ".github" / "workflows").glob("*.yml"):
        for action, pin in re.findall(r"uses: (\S+?)@(.+)", path.read_text(encoding="utf-8")):
            assert re.fullmatch(r"[0-9a-f]{40} # v[\d.]+", pin), f"{path.name}: {action}@{pin}"
            pins.setdefault(action, set()).add(pin)
    assert len(pins) >= 4
    assert {action: len(found) for action, found in pins.items()} == dict.fromkeys(pins, 1)


@pytest.mark.parametrize("name", ["requirements.txt", "requirements-checks.txt"])
def test_everything_in_a_lock_has_its_hashes(name):
    text = (ROOT / name).read_text(encoding="utf-8").replace("\\\n", " ")
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    assert len(lines) > 50
    assert [line for line in lines if not re.search(r"^[\w.-]+==\S.* --hash=sha256:", line)] == []


def test_every_python_that_is_classified_is_tested():
    workflow = (ROOT / ".github" / "workflows" / "tests.yml").read_text(encoding="utf-8")
    tested = re.findall(r'"(3\.\d+)"', re.search(r"matrix: \{ python: \[(.*)\]", workflow)[1])
    said = re.findall(r"Python :: (3\.\d+)", "\n".join(PROJECT["project"]["classifiers"]))
    assert tested == said
    assert PROJECT["project"]["requires-python"] == f">={tested[0]}"


def test_the_version_is_stated_alike():
    cited = archive.citation(ROOT)
    recipe = (ROOT / "conda" / "recipe.yaml").read_text(encoding="utf-8")
    version = PROJECT["project"]["version"]
    assert str(cited["version"]) == version
    assert f'version: "{version}"' in recipe


def test_the_recipe_asks_for_what_the_library_needs():
    import yaml

    recipe = yaml.safe_load((ROOT / "conda" / "recipe.yaml").read_text(encoding="utf-8"))
    conda = {"torch": "pytorch"}  # packages that conda-forge calls otherwise
    needed = {
        re.sub(r"^[\w-]+", lambda name: conda.get(name[0], name[0]), one).replace(">=", " >=")
        for one in PROJECT["project"]["dependencies"]
    }
    asked = set(recipe["requirements"]["run"])
    assert asked - needed == {f"python {PROJECT['project']['requires-python']}"}
    assert needed <= asked


@needs_checks
def test_the_recipe_can_be_read(tmp_path):
    recipe = ROOT / "conda" / "recipe.yaml"
    script = "import sys; from rattler_build import Stage0Recipe as R; R.from_file(sys.argv[1])"
    done = run("python", "-c", script, recipe)
    assert done.returncode == 0, done.stderr
    broken = tmp_path / "recipe.yaml"
    broken.write_text(recipe.read_text().replace("requirements:", "requirement:"))
    assert run("python", "-c", script, broken).returncode != 0


@needs_checks
def test_the_citation_is_valid_and_zenodo_is_told_the_same():
    assert run("cffconvert", "--validate").returncode == 0
    theirs = json.loads(run("cffconvert", "--format", "zenodo").stdout)
    ours = archive.zenodo(archive.citation(ROOT))
    assert {key: ours[key] for key in theirs} == theirs
    assert ours["upload_type"] == "software"


@pytest.fixture(scope="module")
def record(tmp_path_factory):
    """The record of a repository with one chapter, at two profiles, and one network."""
    root = tmp_path_factory.mktemp("repository")
    [network, *_] = sorted((ROOT / "reference" / "network").glob("*/"))
    shutil.copytree(network, root / "reference" / "network" / network.name)
    for name in (f"book/{CHAPTER}", f"published/cifar10/{CHAPTER}", "CITATION.cff"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / name, root / name)
    shutil.copytree(ROOT / "svcca_lib" / "measures", root / "svcca_lib" / "measures")
    (root / "untracked.txt").write_text("not for the record")
    subprocess.run(["git", "init", "--quiet"], cwd=root, check=True)
    subprocess.run(["git", "add", "book", "published", "reference", "svcca_lib", "CITATION.cff"],
                   cwd=root, check=True)  # fmt: skip
    folder = root / "build" / "record"
    return root, folder, archive.build(root, folder)


@pytest.mark.slow
@needs_checks
def test_the_record_is_what_its_validators_ask_for(record, tmp_path):
    _, folder, _ = record
    done = run("python", ROOT / "tests" / "validate_record.py", folder)
    assert done.returncode == 0, done.stdout + done.stderr
    broken = tmp_path / "record"
    shutil.copytree(folder, broken)
    (broken / croissant.DIGITS).unlink()
    said = json.loads((broken / crate.METADATA).read_text())
    said["@graph"][1].pop("license")
    (broken / crate.METADATA).write_text(json.dumps(said))
    assert run("python", ROOT / "tests" / "validate_record.py", broken).returncode == 1


def test_the_record_holds_what_git_knows_and_every_claim(record):
    root, folder, packed = record
    with zipfile.ZipFile(packed) as opened:
        names = set(opened.namelist())
    assert set(archive.tracked(root)) < names
    assert "untracked.txt" not in names
    said = json.loads((folder / crate.METADATA).read_text())["@graph"]
    ids = [entity["@id"] for entity in said]
    assert len(ids) == len(set(ids))
    reviews = {e["@id"]: e for e in said if e["@type"] == "ClaimReview"}
    for profile in ("quick", "cifar10"):
        ledger = json.loads((folder / "record" / "claims" / profile / "ledger.json").read_text())
        [chapter] = ledger["chapters"]
        for claim in chapter["claims"]:
            review = reviews.pop(f"#{profile}/{chapter['chapter']}/{claim['id']}")
            assert review["claimReviewed"] == claim["statement"]
            assert (folder / review["isBasedOn"]["@id"]).is_file()
            [number] = [e for e in said if e["@id"] == review["mainEntity"]["@id"]]
            assert number["value"] == claim["measured"]
    assert not reviews
    pointed = set(re.findall(r'"@id": "([^"]+)"', (folder / crate.METADATA).read_text()))
    assert {p for p in pointed if p.startswith("#")} <= set(ids)


def test_the_record_has_the_same_bytes_each_time(record):
    root, folder, packed = record
    before = packed.read_bytes()
    assert archive.build(root, folder).read_bytes() == before


def test_a_folder_without_git_is_no_source_of_a_record(tmp_path):
    with pytest.raises(RuntimeError, match="is no git repository"):
        archive.build(tmp_path, tmp_path / "record")
