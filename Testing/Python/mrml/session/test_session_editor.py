"""One history with the Segment Editor: its strokes and the session's prompts go back and forth in the order done."""

import slicer
from session_case import Case, state

EDITOR = slicer.vtkMRMLSegmentEditorNode


class LogicHistory:
    """The undo of a `vtkSlicerSegmentEditorLogic` as `EditorHistory`: the panel's own is that of its widget."""

    def __init__(self, logic):
        self.saveStateForUndo, self.undo, self.redo = logic.SaveStateForUndo, logic.Undo, logic.Redo
        self.canUndo, self.canRedo = logic.CanUndo, logic.CanRedo


class Editor:
    """The user's Segment Editor: its own logic with its own history."""

    def __init__(self):
        self.logic = slicer.vtkSlicerSegmentEditorLogic()
        history = slicer.vtkSegmentationHistory()
        history.SetMaximumNumberOfStates(100)
        self.logic.SetSegmentationHistory(history)
        self.history = LogicHistory(self.logic)

    def open(self, case):
        self.logic.SetMRMLScene(case.scene)
        node = case.editor_node()
        node.SetOverwriteMode(EDITOR.OverwriteNone)
        self.logic.SetSegmentEditorNode(node)
        self.edited = False
        case.session.onEdited.append(lambda: setattr(self, "edited", True))

    def paint(self, case, segment_id, array):
        self.logic.SaveStateForUndo()
        case.paint(segment_id, array)
        self.done(case)

    def undo(self, case):
        """Its own Undo button."""
        self.logic.Undo()
        self.done(case)

    def redo(self, case):
        self.logic.Redo()
        self.done(case)

    def done(self, case):
        """What the panel does in its next event after voxels were edited."""
        assert self.edited
        self.edited = False
        case.session.followEditor()


def test_one_undo_goes_back_through_prompts_and_strokes_of_the_segment_editor_in_order():
    editor = Editor()
    case = Case(history=editor.history)
    editor.open(case)
    states = [(state(case), case.array(case.b).tobytes())]

    def step(action):
        action()
        case.finish()
        states.append((state(case), case.array(case.b).tobytes()))

    step(lambda: case.click(10, 8, 4))
    step(lambda: editor.paint(case, case.a, case.expected((18, 14), k=2)))
    step(lambda: editor.paint(case, case.b, case.expected((6, 14), k=2)))
    step(lambda: case.click(14, 8, 4))
    step(lambda: case.click(14, 10, 4))
    step(lambda: editor.paint(case, case.a, case.expected((4, 4), k=5)))
    for _ in range(2):
        for wanted in states[-2::-1]:
            assert case.session.canUndo and case.session.undo()
            case.finish()
            assert (state(case), case.array(case.b).tobytes()) == wanted
        for wanted in states[1:]:
            assert case.session.canRedo and case.session.redo()
            case.finish()
            assert (state(case), case.array(case.b).tobytes()) == wanted
    case.session.close()


def test_the_segment_editors_own_undo_takes_prompts_back_with_their_masks():
    editor = Editor()
    case = Case(history=editor.history)
    editor.open(case)
    states = [(state(case), case.array(case.b).tobytes())]
    actions = (
        lambda: case.click(10, 8, 4),
        lambda: editor.paint(case, case.a, case.expected((18, 14), k=2)),
        lambda: case.click(14, 8, 4),
        lambda: case.click(14, 10, 4),
        lambda: editor.paint(case, case.b, case.expected((4, 4), k=5)),
    )
    for action in actions:
        action()
        case.finish()
        states.append((state(case), case.array(case.b).tobytes()))
    for _ in range(2):
        for wanted in states[-2::-1]:
            editor.undo(case)
            assert not case.session.busy
            assert (state(case), case.array(case.b).tobytes()) == wanted
        for wanted in states[1:]:
            editor.redo(case)
            assert not case.session.busy
            assert (state(case), case.array(case.b).tobytes()) == wanted
    # and the session's own goes on from there
    case.session.undo()
    editor.undo(case)
    assert (state(case), case.array(case.b).tobytes()) == states[-3]
    case.session.redo()
    editor.redo(case)
    assert (state(case), case.array(case.b).tobytes()) == states[-1]
    case.session.close()


def test_prompts_still_on_their_way_go_back_with_the_segment_editors_undo():
    editor = Editor()
    case = Case(history=editor.history)
    editor.open(case)
    states = [state(case)]
    case.click(10, 8, 4)
    case.finish()
    states.append(state(case))
    case.click(14, 8, 4)
    for wanted in reversed(states):
        editor.undo(case)
        case.finish()
        assert state(case) == wanted
    case.session.close()


def test_a_segment_editor_that_is_opened_and_closed_in_between_breaks_no_undo():
    editor, case = Editor(), Case()
    editor.open(case)
    before = state(case)
    case.click(10, 8, 4)
    case.finish()
    case.session.editorHistory = editor.history
    editor.paint(case, case.a, case.expected((18, 14), k=2))
    case.click(14, 8, 4)
    case.finish()
    assert case.session.undo() and case.session.undo()
    assert not case.array()[2].any()
    case.session.redo()
    case.session.editorHistory = None
    assert case.session.undo() and not case.session.canUndo
    painted = case.array()
    assert painted[2].sum() == case.expected((18, 14), k=2).sum() and not painted[4].any()
    assert state(case)[0] == before[0]
    case.session.close()
