"""The eval of the guide: a shaded donut, drawn by a program that Kiro wrote."""

import re

SHADES = ".,-~:;=!*#$@"  # from darkest to brightest


def test_donut(kiro):
    turn = kiro.run(
        "Write donut.js that renders a 3D donut/torus as static ASCII art (roughly 80x24), with shading by surface "
        f"normals against a fixed light direction. Use the characters {SHADES} from darkest to brightest. "
        "Then run it with node donut.js and show the output."
    )

    assert "donut.js" in turn.output  # what Kiro said
    assert turn.used("write")
    assert "node donut.js" in "\n".join(turn.commands)
    assert turn.tool_calls.filter("shell", pattern="donut")[-1].exit_code == 0

    art = kiro.workspace.exec("node donut.js").check().output  # what Kiro left
    lines = art.rstrip().splitlines()
    assert 15 <= len(lines) <= 40
    assert max(map(len, lines)) <= 100
    assert set(art) <= {*SHADES, " ", "\n"}
    assert len(set(art) & set(SHADES)) >= 6, "that is not shading"
    assert set(art) & set(SHADES[:4]), "nothing lies in the dark"
    assert set(art) & set(SHADES[-4:]), "nothing lies in the light"
    assert re.search(r"\S {5,}\S", art), "a donut has a hole"
    assert kiro.workspace.exec("node donut.js").output == art, "it was to be static"
