"""The eval of the guide: a shaded donut, drawn by a program that Kiro wrote."""


def test_donut(kiro):
    turn = kiro.run("Write donut.js that draws a shaded 3D donut as ASCII art, then run it with node.")

    assert "donut.js" in turn.output  # what Kiro said
    assert turn.used("write")
    assert "node donut.js" in turn.commands
    art = kiro.workspace.exec("node donut.js").check().output  # what Kiro left
    assert 15 <= len(art.splitlines()) <= 40
