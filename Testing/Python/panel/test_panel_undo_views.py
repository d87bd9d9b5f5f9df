"""Undo and redo show what they have changed: the slice views move there, unless one of them cuts it already."""


def test_the_views_move_to_what_undo_and_redo_have_changed_and_stay_where_it_is_seen(at_panel):
    at_panel(
        """
import numpy as np
def at():
    "The voxel (i, j, k) that sagittal, coronal and axial view cut."
    cut = []
    for axis, name in enumerate(("Yellow", "Green", "Red")):
        ras = [user.sliceNode(name).GetSliceToRAS().GetElement(n, 3) for n in range(3)]
        cut.append(round(float((np.linalg.inv(user.volume.ijk_to_ras) @ [*ras, 1])[axis])))
    return cut
user.look(15, "Yellow")
user.sliceNode("Yellow").JumpSliceByOffsetting(*user.ras(18, 15, 4))
user.sliceNode("Green").JumpSliceByOffsetting(*user.ras(18, 15, 4))
user.look(3)
user.look(4)
user.click(5, 6, 4)
user.finish()
# seen in the axial view: nothing moves
before = at()
assert before == [18, 15, 4], before
ui.undoButton.click()
ui.redoButton.click()
user.finish()
assert at() == before and user.count() == SPECK, at()
user.look(7)
ui.undoButton.click()
assert at() == [5, 6, 4] and user.count() == 0, at()
assert ui.sliceLabel.text == "axial 4", ui.sliceLabel.text
user.look(1)
for name in ("Yellow", "Green"):
    user.sliceNode(name).JumpSliceByOffsetting(*user.ras(18, 15, 1))
user.look(0)
ui.redoButton.click()
user.finish()
assert at() == [5, 6, 4] and user.listed() == ["Include 1"], at()
# seen in the sagittal view alone, which is enough
user.sliceNode("Green").JumpSliceByOffsetting(*user.ras(5, 15, 1))
user.look(0)
there = at()
assert there[1:] == [15, 0], there
user.sliceNode("Yellow").JumpSliceByOffsetting(*user.ras(4, 15, 1))
ui.undoButton.click()
assert at() == [4, 15, 0], at()
# an accepted object changes no voxel: its prompts are what comes back
ui.redoButton.click()
user.finish()
ui.acceptButton.click()
user.look(7)
user.sliceNode("Yellow").JumpSliceByOffsetting(*user.ras(18, 15, 7))
user.look(6)
ui.undoButton.click()
assert at() == [5, 6, 4] and user.listed() == ["Include 1"], at()
"""
    )
