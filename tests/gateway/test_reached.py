"""What versions had reached outlives the process, and a disk that fails."""

import itertools
from pathlib import Path

import pytest

from gateway.reached import Reached
from protocol.configuration import LEGAL, VersionState, may_follow
from runtime.start import StartError
from tests.gateway.documents import version

ORDER: tuple[VersionState, ...] = (
    "registered", "validated", "approved", "published", "deprecated", "retired",
)  # fmt: skip


def test_states_only_go_forward() -> None:
    for earlier, later in itertools.product(ORDER, ORDER):
        assert may_follow(earlier, later) == (ORDER.index(earlier) <= ORDER.index(later))
    for state in LEGAL:
        assert may_follow("rejected", state) == (state == "rejected")
        assert may_follow(state, "rejected") == (state in {*ORDER[:3], "rejected"})


def kept(path: Path, *states: VersionState) -> Reached:
    reached = Reached(path)
    for state in states:
        reached.note(version("iris", 2, state))
        reached.keep()
    return reached


def test_the_next_process_knows(tmp_path: Path) -> None:
    path = tmp_path / "reached"
    kept(path, "published", "deprecated")
    assert Reached(path).before(version("iris", 2)) == "deprecated"
    assert Reached(path).before(version("iris", 2, "retired")) is None
    assert Reached(path).before(version("iris", 1)) is None
    assert path.stat().st_mode & 0o777 == 0o600


def test_nothing_is_written_where_nothing_is_new(tmp_path: Path) -> None:
    path = tmp_path / "reached"
    reached = kept(path, "published", "published")
    reached.keep()
    assert path.read_bytes().count(b"\n") == 1


def test_a_torn_last_line_is_dropped_and_the_file_made_whole(tmp_path: Path) -> None:
    path = tmp_path / "reached"
    kept(path, "published")
    with path.open("ab") as file:
        file.write(b'["iris",2,"sha')
    kept(path, "deprecated")
    assert Reached(path).before(version("iris", 2)) == "deprecated"


def test_a_damaged_file_is_an_error_at_start_that_says_what_to_do(tmp_path: Path) -> None:
    path = tmp_path / "reached"
    path.write_bytes(b"{}\n")
    with pytest.raises(StartError, match="Remove the file"):
        Reached(path)


def test_superseded_lines_do_not_pile_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.reached._SPARE_LINES", 1)
    path = tmp_path / "reached"
    kept(path, *ORDER)
    assert path.read_bytes().count(b"\n") <= 3
    assert Reached(path).before(version("iris", 2)) == "retired"


def test_what_the_disk_did_not_take_is_written_with_the_next(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "reached"
    reached = kept(path, "published")
    assert not path.exists()
    assert reached.before(version("iris", 2, "validated")) == "published"
    path.parent.mkdir()
    reached.keep()
    assert Reached(path).before(version("iris", 2, "validated")) == "published"
