"""What the user reads goes through Slicer's translation."""

import re

from desktop.process import MODULE, ROOT, run_on_desktop


def test_status_line_and_tooltips_speak_the_applications_language(tmp_path):
    run_on_desktop(
        f"""
import slicer.i18n
slicer.i18n.tr = lambda text: "\\u00ab" + text + "\\u00bb"
widget = desktop.openModule({str(MODULE)!r})
sys.path.insert(0, {str(ROOT / "Testing" / "support")!r})
ui = widget.ui
assert ui.includeButton.toolTip == "\\u00abChoose a volume.\\u00bb" == ui.statusLabel.text
from panel_case import User
user = User(desktop, widget)
user.begin()
user.click(5, 6, 4)
assert ui.statusLabel.text == "\\u00abSegmenting 1 slice ...\\u00bb"
user.network.gate.set()
user.finish()
assert ui.statusLabel.text == "\\u00ab\\u00abaxial slice 4\\u00bb: 13 voxels (liver-tumor).\\u00bb"
ui.acceptButton.click()
assert ui.statusLabel.text == "\\u00abAccepted.\\u00bb"
import threading
panel, gate = widget.panel, threading.Event()
def work(cancelled, progress):
    progress(3, 7)
    gate.wait(30)
    raise ZeroDivisionError("a bug")
panel.tasks.start("work", "Work", work, None)
panel.engine.follow()
# the bar follows the status line one poll later where the worker reports in between
desktop.wait(lambda: ui.statusLabel.text == "\\u00abWork: 3 of 7\\u00bb" and ui.progressBar.value == 428)
assert ui.progressBar.maximum == 1000
gate.set()
user.finish()
assert "\\u00abWork: failed (ZeroDivisionError).\\u00bb" in panel.session.log
assert "ZeroDivisionError" in desktop.errors.pop()
""",
        tmp_path,
        open_module=False,
    )


def test_no_text_is_put_together_before_it_is_translated():
    for folder in ("SAMLiverTumor", "SAMLiverTumorLib"):
        for path in (ROOT / folder).rglob("*.py"):
            assert not re.search(r"\b_\(\s*f[\"']", path.read_text("utf-8")), f"an f-string inside _() in {path.name}"
