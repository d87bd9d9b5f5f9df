"""The panel benchmark runs completely; its times are not tested."""

import json
import subprocess
import sys


def test_the_short_form_writes_the_times_of_clicks_and_longest_holds(root, store, tmp_path):
    out = tmp_path / "figures" / "bench-panel.json"
    command = [sys.executable, "Testing/bench", "panel", "--short", "--out", str(out)]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    report = json.loads(out.read_text(encoding="utf-8"))
    (volume,) = report["volumes"]
    assert (report["short"], volume["volume"], volume["clicks"]) == (True, "128 x 128 x 16", 3)
    assert volume["changed"] >= 1
    assert len(volume["all_ms"]) == 3
    assert volume["median_ms"] in volume["all_ms"]
    phases = [hold["phase"] for hold in volume["longest_holds"]]
    assert {"choose the volume", "first box on a slice", "warm clicks", "undo", "evaluate"} <= set(phases)
    assert "target: median under 150 ms" in done.stdout
    assert "target: never over 100 ms" in done.stdout


def test_missing_weights_are_reported_with_the_command_that_fetches_them(root, tmp_path):
    program = (
        "import os, sys; sys.path[:0] = ['Testing']; os.environ['SAM_LIVER_TUMOR_MODELS'] = sys.argv[1]\n"
        "from bench.panel import main\n"
        "sys.exit(main(['--short', '--out', os.path.join(sys.argv[1], 'out.json')]))"
    )
    command = [sys.executable, "-c", program, str(tmp_path)]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False, timeout=300)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "bench panel: first fetch the model: sam-liver-tumor models fetch lite-medsam\n"
    assert not list(tmp_path.iterdir())
