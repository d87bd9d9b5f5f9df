"""A few random sequences of what a user does at the panel; `python3 dev.py fuzz --target sequences` is the long run."""

import pytest
from session_desk import Desk
from session_player import Player, play

COUNT = 25


def test_the_scene_is_a_replay_of_what_is_done_and_what_is_said_is_what_is_there():
    played = {action for number in range(COUNT) for action in play(f"test/{number}").played}
    assert played == {
        *("point", "undo", "redo", "switch", "move", "delete", "box", "clear", "accept", "new", "find", "find_new"),
        *("remove", "reload"),
    }


@pytest.mark.parametrize("wrong", ["voxels", "prompts", "status", "button"])
def test_the_player_notices_what_is_wrong(wrong, monkeypatch):
    desk = Desk()
    player = Player(desk, 0)
    player.point()
    player.finish()
    player.check_scene()
    player.check_said()
    if wrong == "voxels":
        desk.paint(desk.a, desk.expected((20, 15), k=5))
    elif wrong == "prompts":
        desk.session.live = False
        desk.look(5)
        desk.click(5, 5, 5)
    elif wrong == "status":
        desk.session.message = "A: 999 voxels."
    else:
        player.done.clear()
    with pytest.raises(AssertionError, match=wrong if wrong in ("voxels", "prompts") else None):
        player.check_said()
        player.done[1:] = []
        player.check_scene()
    desk.session.close()
