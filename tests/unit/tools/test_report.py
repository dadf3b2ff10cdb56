"""The page of `infini explain --html`: what is on it, that it is whole, and what it costs."""

import json
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from click.testing import CliRunner

from infini_ir.tools.infini.cli import cli
from infini_ir.tools.report.drawings import LONG, arena_of, drawing_of
from infini_ir.tools.report.kinds import MOST_KINDS, kinds_of
from infini_ir.tools.report.passes import MOST_LINES, difference
from infini_ir.tools.report.program import Life, Node
from infini_ir.tools.report.roofline import roofs_of

pytest.importorskip("jinja2")

VOID = {"meta", "input", "br"}
MACHINE = {
    "gflops": 100.0,
    "gflops_by_type": {"bf16": 1000.0, "i8": 2000.0},
    "memory_gb_per_second": 10.0,
    "l1_gb_per_second": 200.0,
    "l1_bytes": 1 << 16,
    "l2_gb_per_second": 80.0,
    "l2_bytes": 1 << 20,
}


class Page(HTMLParser):
    """Checks that elements are closed in order, and collects them."""

    def __init__(self):
        super().__init__()
        self.open = []
        self.seen = []
        self.ids = set()
        self.links = []
        self.text = []

    def handle_startendtag(self, tag, attrs):
        self.note(tag, attrs)

    def handle_starttag(self, tag, attrs):
        self.note(tag, attrs)
        if tag not in VOID:
            self.open.append(tag)

    def note(self, tag, attrs):
        given = dict(attrs)
        self.seen.append((tag, given))
        if "id" in given:
            assert given["id"] not in self.ids
            self.ids.add(given["id"])
        self.links += [given[name] for name in ("href", "src") if name in given]

    def handle_endtag(self, tag):
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


@pytest.fixture(scope="module")
def text(tmp_path_factory, mlp):
    path = tmp_path_factory.mktemp("report") / "page.html"
    arguments = ["explain", mlp, "--shape", "B=3", "--measure", "place", "--threads", "1"]
    result = CliRunner().invoke(cli, [*arguments, "--html", str(path)])
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith(f"wrote: {path}")
    return path.read_text()


@pytest.fixture(scope="module")
def page(text):
    page = Page()
    page.feed(text)
    page.close()
    assert page.open == []
    return page


def test_the_page_needs_nothing_else(text, page):
    assert text.startswith("<!DOCTYPE html>") or "<!DOCTYPE html>" in text[:200]
    assert all(link.startswith("#") for link in page.links)
    assert {link[1:] for link in page.links} <= page.ids
    assert "http:" not in text
    assert "https:" not in text
    assert "@import" not in text
    assert "url(" not in text


def test_the_page_says_what_there_is(text, page):
    words = " ".join(page.text)
    for wanted in ("mlp.onnx", "B = 3", "Roofline", "Memory plan", "of the machine's limit"):
        assert wanted in words
    for name in ("graph-fuse", "graph-to-tile", "cpu-plan", "tile-insert-barriers"):
        assert name in words
    assert "prefers-color-scheme: dark" in text
    tags = [tag for tag, _ in page.seen]
    assert tags.count("circle") == 1
    assert "kernel-table" in page.ids
    assert "launch-0" in page.ids
    assert any(given.get("class") == "node" for _, given in page.seen)


def test_code_of_kernels_is_on_the_page(page):
    words = " ".join(page.text)
    assert "tile.kernel @" in words
    assert "define hidden void @" in words
    assert "retq" in words or "ret" in words


def test_changes_are_marked(page):
    marked = {given.get("class") for tag, given in page.seen if tag == "span"}
    assert {"plus", "minus"} <= marked


def test_numbers_sort(page):
    values = [given["data-value"] for tag, given in page.seen if "data-value" in given]
    assert values
    assert all(re.fullmatch(r"-?[\d.e+-]+", value) for value in values)


def test_names_are_escaped(tmp_path, mlp):
    from infini_ir.compiler import Options
    from infini_ir.tools.infini.explain import Wishes, explain
    from infini_ir.tools.report.page import page_of

    wishes = Wishes(peak=100.0, bandwidth=10.0)
    explained = explain(mlp, Options(), wishes, lambda stage, done, total: None)
    explained.facts["launches"][0]["node"] = "<script>alert(1)</script>"
    explained.facts["launches"][0]["origin"] = ""
    explained.facts["model"] = "a&<b>.onnx"
    text = page_of(explained, [])
    assert "<script>alert" not in text
    assert "&lt;script&gt;alert" in text
    Page().feed(text)


def test_other_targets_have_no_page(mlp, tmp_path):
    result = CliRunner().invoke(
        cli, ["explain", mlp, "--target", "cambricon", "--html", str(tmp_path / "p.html")]
    )
    assert result.exit_code == 1
    assert "--html explains programs for the cpu" in result.output


def test_a_page_that_cannot_be_written_is_refused_first(mlp, tmp_path):
    result = CliRunner().invoke(
        cli, ["explain", mlp, "--html", str(tmp_path / "none" / "p.html")]
    )
    assert result.exit_code == 1
    assert "no folder" in result.output


# Parts


def test_numbers_of_values_do_not_count_as_changes():
    before = "a %1\nb %2\nc %3"
    after = "a %1\nnew %2\nb %3\nc %4"
    lines = difference(before, after)
    assert [(line.mark, line.text) for line in lines if line.mark in "+-"] == [("+", "new %2")]


def test_long_differences_are_cut():
    lines = difference("", "\n".join(f"line {i}" for i in range(1000)))
    assert len(lines) == MOST_LINES + 1
    assert lines[-1].mark == "@"
    assert "more lines" in lines[-1].text


def entry(number, seconds, **more):
    given = {"kernel": f"k{number}", "origin": "", "node": "n", "limit": "compute"}
    numbers = {"measured_seconds": seconds, "limit_seconds": seconds / 2}
    return {**given, **numbers, "operations": 1e6, "bytes": 1e4, **more}


def test_layers_have_places_of_their_own():
    nodes = [Node(0, 0), Node(1, 0, 1), Node(2, 1, 0, [0, 1])]
    drawing = drawing_of(nodes, [entry(i, 1.0) for i in range(3)])
    places = {(box["x"], box["y"]) for box in drawing["boxes"]}
    assert len(places) == 3
    assert len(drawing["lines"]) == 2
    assert all(y1 < y2 for _, y1, _, y2, _ in drawing["lines"])
    assert {kind for *_, kind in drawing["lines"]} == {"edge"}
    assert all(box["x"] < drawing["width"] for box in drawing["boxes"])


def test_edges_over_many_layers_are_faint():
    far = [Node(0, 0), *(Node(n, n, 0, [n - 1]) for n in range(1, LONG + 2))]
    far[-1].needs.append(0)
    drawing = drawing_of(far, [entry(i, 1.0) for i in range(len(far))])
    assert sorted(kind for *_, kind in drawing["lines"])[-1] == "far edge"


def test_points_lie_below_their_roof():
    kernels = [entry(0, 1e6 / 50e9), entry(1, 1e6 / 90e9, bytes=1e6)]
    roofs = roofs_of(MACHINE, kernels, {"f32"})
    compute = [line for line in roofs.lines if "computing" in line["kind"]]
    assert [line["text"] for line in compute] == ["f32: 100 GFLOP/s"]
    assert all(point["y"] > compute[0]["y1"] for point in roofs.points)
    assert len(roofs_of(MACHINE, kernels, {"f32", "bf16", "i8"}).lines) == len(roofs.lines) + 2
    assert roofs.points[0]["label"]
    assert all(point["roof"] <= point["y"] for point in roofs.points)


def test_kernels_of_no_time_are_not_drawn():
    kernels = [entry(0, 1.0), entry(1, 1e-6)]
    roofs = roofs_of(MACHINE, kernels, {"f32"})
    assert len(roofs.points) == 1
    assert roofs.left_out == 1


def test_kinds_are_kernels_of_alike_names():
    names = ("dot_2_packed", "dot", "conv_3x3_4", "conv_3x3_packed", "softmax")
    kernels = [
        {**entry(i, 1.0 + i), "kernel": name, "launches": [i]} for i, name in enumerate(names)
    ]
    kinds = {kind.name: kind for kind in kinds_of({"kernels": kernels, "totals": {}})}
    assert set(kinds) == {"dot", "conv_3x3", "softmax"}
    assert kinds["conv_3x3"].seconds == 7.0
    assert kinds["conv_3x3"].kernels == kinds["conv_3x3"].launches == 2
    assert kinds["conv_3x3"].needed == 0.5
    assert sum(kind.share for kind in kinds.values()) == pytest.approx(1)


def test_few_kinds_have_names():
    kernels = [
        {**entry(i, 1.0), "kernel": f"k{chr(97 + i)}", "launches": [i]} for i in range(20)
    ]
    times = {
        "barrier_seconds": 1.0,
        "rest_of_native_seconds": 0.5,
        "outside_native_seconds": 0.5,
    }
    totals = {"call_seconds": 22.0, **times}
    kinds = kinds_of({"kernels": kernels, "totals": totals})
    assert len(kinds) == MOST_KINDS + 1 + 3
    assert kinds[MOST_KINDS].name == f"{20 - MOST_KINDS} other kinds"
    assert kinds[MOST_KINDS].share == pytest.approx((20 - MOST_KINDS) / 22)


def test_nothing_measured_is_drawn_from_limits():
    assert roofs_of(MACHINE, [entry(0, 1.0, measured_seconds=None)], {"f32"}).points
    assert roofs_of(MACHINE, [entry(0, 1.0, operations=0.0)], set()).points == []


def test_the_arena_counts_what_is_in_use():
    lives = [Life(0, 1000, 0, 1, "a"), Life(1000, 3000, 1, 2, "b"), Life(0, 500, 2, 2, "c")]
    arena = arena_of(lives, 3)
    assert arena["bytes"] == "3 KB"
    assert arena["most"] == "3 KB"
    assert arena["sum"] == "3.5 KB"
    assert len(arena["boxes"]) == 3
    assert arena_of([], 0)["boxes"] == []


def test_json_and_page_agree(mlp, text):
    result = CliRunner().invoke(cli, ["explain", mlp, "--shape", "B=3", "--json"])
    facts = json.loads(result.stdout)
    assert facts["launches"][0]["kernel"] in text
    assert np.isfinite(facts["totals"]["limit_seconds"])
