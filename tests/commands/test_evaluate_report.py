"""`glta evaluate --report`: a path that cannot be written to is said before anything runs."""

from __future__ import annotations


def test_a_report_without_a_folder_to_stand_in_ends_the_command_at_once(glta, tiny_recipe_file, workspace_root) -> None:
    finished = glta("evaluate", "--recipe", str(tiny_recipe_file), "--report", "absent/report.html")
    assert finished.code == 2
    assert "--report absent/report.html: there is no folder absent" in finished.err
    assert "hint: make it first" in finished.err
    assert not workspace_root.exists()


def test_a_folder_is_no_report(glta, tiny_recipe_file, workspace_root) -> None:
    finished = glta("evaluate", "--recipe", str(tiny_recipe_file), "--report", str(glta.folder))
    assert finished.code == 2
    assert "is a folder" in finished.err
    assert not workspace_root.exists()
