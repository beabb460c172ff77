"""Which tests run when: `-m fast` before a commit, the default before a push, `-m matrix` before a release.

A folder has a tier, and a file or a case may have another one. Each mechanism that `MATRIX` tells in full is proven by
default too: beside it stands the test that fails when the code is broken.
"""

from __future__ import annotations

import re

FAST, DEFAULT = "fast", "default"
#: The tier of each folder, or of a file in it; the slowest first, which is the order in which they are run.
TIERS = {
    "evals": DEFAULT,
    "daytona": DEFAULT,
    "plugin": DEFAULT,
    "plugin/test_asserting.py": FAST,
    "plugin/test_budget.py": FAST,
    "plugin/test_conversation.py": FAST,
    "plugin/test_engines.py": FAST,
    "plugin/test_replies.py": FAST,
    "plugin/test_retries.py": FAST,
    "plugin/test_workspace.py": FAST,
    "emulator_tests": DEFAULT,
    "shells": DEFAULT,
    "docs": DEFAULT,
    "standin": FAST,
    "contract": FAST,
    "unit": FAST,
    "unit/test_fuzz_readers.py": DEFAULT,
    "house": FAST,
}
_START_UP = "l2_path_and|l3_|l4_|l5_a_start|l5_a_shell|l2_a_log"
#: Full products, by a pattern of node ids. Where nothing else is said, the same mechanism on another provider, shell,
#: engine or way to start fails in its stead.
MATRIX = {
    r"unit/test_fuzz_readers.py::test_many_examples": "the others there, with fewer examples",
    # The Pty contract holds the providers to the same terminal, and tests/plugin tells every story on the local one.
    r"daytona/test_daytona_device.py::test_device\[(?!(arrow_keys|a_resized|four_workers|ctrl_c_while|a_saved_login))": (
        "plugin/test_device.py::test_device, contract/test_pty_contract.py"
    ),
    r"daytona/test_daytona_terminal.py::test_(?!the_)\w+\[d190": "the same [both], test_the_words[d190], test_the_last_words*",
    # The daemon's racing end of terminals concerns what they print last, and their status.
    r"contract/test_pty_contract.py::(?!test_p2_|test_p3_after|test_p4_wait).*\[racing": (
        "contract/test_pty_contract.py::test_p2_*[racing], test_p3_after*[racing], test_p4_wait*[racing]"
    ),
    r"daytona/test_daytona_device.py::test_no_sandbox_is_paid_for.*\[(?!auto)": "the same [auto]",
    r"daytona/test_daytona_turn.py::test_an_eval_in_which_every_request_fails_once_passes.*(429|drop)": (
        "the same [502], [lose_response]; daytona/test_daytona_files.py::test_every_byte_arrives_although[* limited], [* torn], "
        "daytona/test_daytona_exec.py::test_a_command_is_carried_out_once_and_answered"
    ),
    # The rows in which a link matters are told on both.
    r"daytona/test_daytona_outcomes.py::test_every_row": (
        "daytona/test_daytona_outcomes.py::test_where_the_link_matters, plugin/test_outcomes.py::test_every_row"
    ),
    # `sh` and `zsh -l` tell every story, the others those in which a start-up file is read, each in one of both kinds.
    rf"shells/test_shells.py::test_shell\[(bash|bash -l|sh -l|zsh)-(plain|durable)-(?!{_START_UP})": (
        "shells/test_shells.py::test_shell[sh-*], [zsh -l-*]"
    ),
    r"shells/test_shells.py::test_shell\[(bash-plain|bash -l-durable|sh -l-plain|zsh-durable)": (
        "shells/test_shells.py::test_shell[bash-durable-*], [bash -l-plain-*], [sh -l-durable-*], [zsh-plain-*]"
    ),
    r"shells/test_shells.py::test_every_story_without_root\[(plain-|durable-(?!sh\]))": "the same [durable-sh], test_shell[sh-*]",
    # A usage error of the controller ends the run before there is a worker.
    r"plugin/test_admission.py::test_a_setting_of_a_device_login_without_one\[xdist": "the same [alone-*]",
    r"plugin/test_admission.py::test_a_setting_of_a_device_login_without_one\[alone-(login_timeout|open_browser)-(?!saved)": (
        "the same [alone-login_args-*]"
    ),
    r"plugin/test_options.py::test_what_would_be_ignored_is_a_usage_error\[xdist": "the same [alone-*]",
    r"plugin/test_options.py::test_an_unknown_name_is_a_usage_error\[(option|variable|ini)-xdist": "the same [provider-xdist]",
    r"plugin/test_options.py::test_a_wrong_marker_is_a_usage_error\[positional-(xdist|collecting)": "the same [keyword-*]",
    r"plugin/test_results.py::test_what_cannot_be_written.*\[xdist-(?!folder)": "the same [xdist-folder], [alone-*]",
    # A worker is a worker, however its tests are given out.
    r"plugin/test_budget.py::test_all_workers_spend_of_one_budget\[-n3": "the same [-n2]",
    r"plugin/test_owner.py::test_every_scope_keeps_its_own\[--randomly-seed=3 -n2": "the same [-n2], [--randomly-seed=*]",
    r"plugin/test_report.py::test_header_and_summary_stand_there_once\[-n2 --dist": "the same [-n2]",
    r"plugin/test_secrets.py::test_a_hook_that_tells_nothing_of_use\[-n1-(?!7-)": "the same [-n1-7-*], [-*]",
    # Every style of pytest's is of the one report that is hidden; by default each has a run, if not all together.
    r"plugin/test_secrets.py::test_nothing_is_left_of_a_secret\[(-rA -vv|-n1|--capture=tee-sys)": (
        "the same [-n2 -rA *], [--tb=native -rA], [--showlocals * -vv *], [-s *]"
    ),
    r"plugin/test_device.py::test_any_capture\[--capture=(no|tee-sys|fd)": "the same [-s], [--capture=sys]",
    r"evals/test_evals_pass.py::test_on_every_engine_and_in_every_form_of_output": (
        "evals/test_evals_pass.py::test_on_v1_in_random_order_without_node_on_path, test_on_v3_in_the_background_of_a_script, "
        "test_on_v3_as_a_stream_on_two_workers"
    ),
    r"evals/test_evals_pass.py::test_on_two_workers": "evals/test_evals_pass.py::test_on_v3_as_a_stream_on_two_workers",
    r"evals/test_evals_pass.py::test_in_random_order": "evals/test_evals_pass.py::test_on_v1_in_random_order_without_node_on_path",
    r"evals/test_evals_pass.py::test_in_the_background_of_a_script": "evals/test_evals_pass.py::test_on_v3_in_the_background_of_a_script",
    r"evals/test_evals_pass.py::test_without_node_on_path": "evals/test_evals_pass.py::test_on_v1_in_random_order_without_node_on_path",
}


def tier(where: str) -> str:
    """The tier of a test, of a file or of a folder."""
    file, folder = where.partition("::")[0], where.partition("/")[0]
    known = TIERS.get(file, TIERS[folder])
    slow = folder == "contract" and where.partition("[")[2].startswith(("daytona", "racing"))
    return DEFAULT if slow and known == FAST else known


def in_matrix(where: str) -> bool:
    return any(re.match(pattern, where) for pattern in MATRIX)


def order(where: str) -> int:
    """What comes first: a long test that begins last is waited for alone."""
    return list(TIERS).index(where.partition("/")[0])
