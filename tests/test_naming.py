import os
from pathlib import Path

import click
import pytest

from aec.cli.naming import Job, mask_name, plan, shown


def test_outputs_lie_beside_their_inputs() -> None:
    jobs = plan(["a.png", os.path.join("x", "b.c.jpg"), "plain", ".hidden"], None, ".aec")
    assert [job.target for job in jobs] == [
        "a.aec",
        os.path.join("x", "b.c.aec"),
        "plain.aec",
        ".hidden.aec",
    ]
    assert jobs[0].source == "a.png"


def test_a_pipe_goes_on_as_a_pipe() -> None:
    assert plan(["-"], None, ".aec") == [Job("-", "-")]
    assert plan(["-"], "a.aec", ".aec") == [Job("-", "a.aec")]
    assert plan(["a.png"], "-", ".aec") == [Job("a.png", "-")]


def test_a_folder_takes_every_output(tmp_path: Path) -> None:
    inputs = [os.path.join("x", "a.png"), os.path.join("..", "y", "b.png")]
    for output in (str(tmp_path), f"{tmp_path}/", f"{tmp_path}/new/"):
        targets = [job.target for job in plan(inputs, output, ".aec")]
        assert targets == [os.path.join(output, name) for name in ("a.aec", "b.aec")]
    assert plan(["a.png"], str(tmp_path), ".aec")[0].target == str(tmp_path / "a.aec")
    assert not (tmp_path / "new").exists()  # a plan changes nothing


def test_no_output_leaves_the_folder(tmp_path: Path) -> None:
    for name in ("../../up.png", "/etc/up.png", "./../up.png", "..", ".", "/"):
        (job,) = plan([name], f"{tmp_path}/out/", ".aec")
        assert Path(os.path.realpath(job.target)).parent == Path(os.path.realpath(tmp_path)) / "out"


@pytest.mark.parametrize(
    ("inputs", "output", "message"),
    [
        (["a.png", "b.png"], "out.aec", r"2 inputs need a folder.*-o out\.aec/"),
        (["a.png", "b.png"], "-", "need a folder"),
        (["a.png", "-"], None, "only input"),
        (["-"], "out/", "no name"),
        (["a.png", "a.jpg"], None, r"a\.png and a\.jpg would both be written to a\.aec"),
        (["a.png", "a.png"], None, "would both be written"),
        (["x/a.png", "y/a.png"], "out/", "would both be written"),
        (["a.png", "./x/../a.png"], "out/", "would both be written"),
        (["a.aec"], None, "is an input and an output"),
        (["a.png"], "./a.png", "is an input and an output"),
        (["a.aec", "b.png"], "./", "is an input and an output"),
    ],
)
def test_contradictions_are_refused(inputs: list[str], output: str | None, message: str) -> None:
    with pytest.raises(click.UsageError, match=message):
        plan(inputs, output, ".aec")


def test_a_mask_lies_beside_its_picture() -> None:
    assert mask_name(os.path.join("x.y", "a.b.tif")) == os.path.join("x.y", "a.b.mask.png")
    assert mask_name("a") == "a.mask.png"
    assert mask_name("-") is None and mask_name(os.devnull) is None


@pytest.mark.parametrize(
    ("inputs", "output", "message"),
    [
        (["a.aec", "a.mask.aec"], None, r"would both be written to a\.mask\.png"),
        (["a.mask.aec", "a.aec"], "out/", "would both be written to"),
        (["a.mask.png"], "a.jpg", r"a\.mask\.png is an input and an output"),
    ],
)
def test_masks_do_not_collide(inputs: list[str], output: str | None, message: str) -> None:
    assert len(plan(inputs, output, ".png")) == len(inputs)
    with pytest.raises(click.UsageError, match=message):
        plan(inputs, output, ".png", masks=True)


@pytest.mark.skipif(os.name != "posix", reason="links need a privilege elsewhere")
def test_a_link_does_not_hide_the_same_file(tmp_path: Path) -> None:
    (tmp_path / "a.png").touch()
    (tmp_path / "b.aec").symlink_to("a.png")
    with pytest.raises(click.UsageError, match="is an input and an output"):
        plan([str(tmp_path / "a.png")], str(tmp_path / "b.aec"), ".aec")


def test_names_are_shown_without_control_characters() -> None:
    assert shown("caf\u00e9 \u5199\u771f.png") == "caf\u00e9 \u5199\u771f.png"
    assert shown("a\x1b[31m\n\udcff.png") == "a\ufffd[31m\ufffd\ufffd.png"
