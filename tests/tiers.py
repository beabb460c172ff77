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
    "plugin/test_engines.py": FAST,
    "plugin/test_replies.py": FAST,
    "plugin/test_retries.py": FAST,
    "plugin/test_workspace.py": FAST,
    "emulator_tests": DEFAULT,
    "shells": DEFAULT,
    "html": DEFAULT,
    "docs": DEFAULT,
    "standin": FAST,
    "contract/test_bubblewrap.py": DEFAULT,
    "contract/test_container.py": DEFAULT,
    "contract": FAST,
    "unit": FAST,
    "unit/test_fuzz_readers.py": DEFAULT,
    # Turns and programs whose links are lost: a tenth of all that is fast, and seldom in the way of a change.
    "unit/test_follow.py": DEFAULT,
    "unit/test_lost_turn.py": DEFAULT,
    "house": FAST,
}
#: Files of `plugin` that ask nothing of pytest which another release could do otherwise, the others apart: what they
#: tell is of turns, and of what an agent does. CI tests the rest of the folder with the oldest pytest too.
ANY_PYTEST = {
    "plugin/test_believed.py",
    "plugin/test_budget.py",
    "plugin/test_check.py",
    "plugin/test_commandline.py",
    "plugin/test_conversation.py",
    "plugin/test_engines.py",
    "plugin/test_export.py",
    "plugin/test_home.py",
    "plugin/test_in_bubblewrap.py",
    "plugin/test_live.py",
    "plugin/test_live_control.py",
    "plugin/test_memories.py",
    "plugin/test_other_tools.py",
    "plugin/test_outcomes.py",
    "plugin/test_outside.py",
    "plugin/test_replies.py",
    "plugin/test_saved_login.py",
    "plugin/test_scenarios_of_recordings.py",
    "plugin/test_terminal.py",
    "plugin/test_turn.py",
    "plugin/test_workspace.py",
}
_START_UP = "l2_path_and|l3_|l4_|l5_a_start|l5_a_shell|l2_a_log"
#: Full products, by a pattern of node ids. Where nothing else is said, the same mechanism on another provider, shell,
#: engine or way to start fails in its stead.
MATRIX = {
    r"unit/test_fuzz_readers.py::test_many_examples": "the others there, with fewer examples",
    r"emulator_tests/test_emulator_speed.py::test_a_flood": "test_latency_is_added_once_to_each_way; how fast it is, a loaded machine decides",
    # scipy.stats and statsmodels take ten seconds to import; the numbers that they gave are in tests/unit/data.
    r"unit/test_trials_oracles.py::test_(?!special|many_trials)": "unit/test_trials_rates.py, test_trials_comparison.py::test_known_*",
    r"unit/test_trials_comparison.py::test_false_alarms_of_suites.*\[10-5": "the same [5-3], test_false_alarms_of_one_task",
    r"unit/test_trials_gates.py::test_simulated_groups.*\[100000": "the same [4000], test_a_curtailed_group_has_the_verdict_of_the_whole",
    # The Pty contract holds the providers to the same terminal, and tests/plugin tells every story on the local one.
    r"daytona/test_daytona_device.py::test_device\[(?!(a_resized|ctrl_c_while|a_saved_login))": (
        "plugin/test_device.py::test_device, contract/test_pty_contract.py"
    ),
    r"daytona/test_daytona_terminal.py::test_(?!the_)\w+\[d190": "the same [both], test_the_words[d190], test_the_last_words*",
    # The daemon's racing end of terminals concerns what they print last, and their status.
    # Namespaces hold the same warden and terminals as the local sandbox.
    r"plugin/test_in_bubblewrap.py::test_device\[(?!a_resized|a_saved_login)": (
        "plugin/test_device.py::test_device, the same [a_resized*, a_saved_login*]"
    ),
    r"contract/test_pty_contract.py::(?!test_p2_|test_p3_after|test_p4_wait).*\[racing": (
        "contract/test_pty_contract.py::test_p2_*[racing], test_p3_after*[racing], test_p4_wait*[racing]"
    ),
    r"daytona/test_daytona_device.py::test_no_sandbox_is_paid_for.*\[(?!auto)": "the same [auto]",
    r"daytona/test_daytona_turn.py::test_an_eval_in_which_every_request_fails_once_passes.*(429|drop|502)": (
        "the same [lose_response]; daytona/test_daytona_files.py::test_every_byte_arrives_although[limited], [torn], "
        "daytona/test_daytona_exec.py::test_a_command_is_carried_out_once_and_answered"
    ),
    r"daytona/test_daytona_turn.py::test_a_turn_whose_link_is_lost_.*\[elsewhere": (
        "the same [each]; unit/test_lost_turn.py::test_a_turn_is_completed_from_the_log, unit/test_follow.py::test_every_cut_*"
    ),
    # Every other test of turns is of V2's text; of V3's, the evals of .ci/run.
    r"plugin/test_engines.py::test_an_eval_is_the_same_on_every_engine\[v[23]-text": "the same [v1-text], [v2-stream-json], [v3-stream-json]",
    r"plugin/test_engines.py::test_compaction_and_a_second_turn\[(v2-text|v3-stream)": "the same [v3-text], [v2-stream-json]",
    r"plugin/test_engines.py::test_what_was_loaded\[(v3-text|v2-stream-json)": (
        "the same [v2-text], [v3-stream-json]; unit/test_sessions_v3.py::test_a_skill_that_is_put_into_the_prompt"
    ),
    # Where V3's own records are no evidence, a row of V2 is decided by the same lines; .ci/run has them all.
    r"plugin/test_outcomes.py::test_every_row\[[^]]*alike": "the same [--kiro-engine=v2 *], [--kiro-engine=v3 *]",
    # What is large enough for each way of ours to send and to list is so at any size beyond.
    r"daytona/test_daytona_files.py::test_megabytes_go_both_ways\[100": "the same [8]",
    r"daytona/test_daytona_files.py::test_many_files_are_one_request_each_way\[2000": (
        "the same [600], daytona/test_daytona_files.py::test_more_names_than_one_command_holds"
    ),
    r"daytona/test_daytona_files.py::test_a_folder_with_many_entries\[5000": (
        "the same [1000], daytona/test_daytona_files.py::test_more_names_than_one_command_holds"
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
    # A log, or none, is of the launch and of no shell: each story has one of both, where no start-up file is read.
    rf"shells/test_shells.py::test_shell\[(sh-plain|zsh -l-durable)-(?!{_START_UP})": (
        "shells/test_shells.py::test_shell[sh-durable-*], [zsh -l-plain-*]"
    ),
    # What is recorded of a terminal, and played, is so of any engine; V2's is printed in every other test.
    r"html/test_page.py::test_a_large_run.*\[10": "the same [4]",
    r"html/test_real_turn.py::test_what_was_recorded_is_played\[v2": "the same [v3]",
    # What becomes of a prompt, and what is told of files, is the script's that is launched.
    r"shells/test_shells.py::test_shell\[zsh -l-plain-(l7_|l6_what_the)": (
        "the same [sh-durable-*]; unit/test_launch.py::test_l7_*, test_every_kind_of_change_is_told"
    ),
    r"shells/test_shells.py::test_every_story_without_root\[(plain-|durable-(?!sh\]))": "the same [durable-sh], test_shell[sh-*]",
    # What a value means is told for each row by values; of pytest it is asked in one way, a switch's apart.
    r"plugin/test_options.py::test_(option_over|a_wrong_value).*\[(?!(timeout|open_browser|snapshot|ignore)\])": (
        "the same [timeout], [open_browser], [snapshot], [ignore]; unit/test_settings.py::test_option_wins_*, "
        "test_a_wrong_value_is_named_*"
    ),
    # A usage error of the controller ends the run before there is a worker.
    r"plugin/test_admission.py::test_a_setting_of_a_device_login_without_one\[xdist": "the same [alone-*]",
    r"plugin/test_admission.py::test_a_setting_of_a_device_login_without_one\[alone-(login_timeout|open_browser)-(?!saved)": (
        "the same [alone-login_args-*]"
    ),
    r"plugin/test_options.py::test_what_would_be_ignored_is_a_usage_error\[xdist": "the same [alone-*]",
    r"plugin/test_options.py::test_an_unknown_name_is_a_usage_error\[(option|variable|ini)-xdist": "the same [provider-xdist]",
    r"plugin/test_options.py::test_a_wrong_marker_is_a_usage_error\[positional-(xdist|collecting)": "the same [keyword-*]",
    # What is gathered of one process is so with and without a terminal; the other tests there have one.
    r"plugin/test_results.py::test_everything_that_became_of_a_run\[\]": "the same [-p no:terminal], [-n2 --dist=loadscope]",
    r"plugin/test_status.py::test_a_line_below_the_cursor_goes_away\[(120|q)\]": "the same [80], [40], [low]",
    r"plugin/test_results.py::test_what_cannot_be_written.*\[xdist-(?!folder)": "the same [xdist-folder], [alone-*]",
    # Where a signal comes is told locally, in ten places; on Daytona where something is to be paid for.
    r"daytona/test_daytona_interrupted.py::test_ctrl_c\[(install|login|files)": (
        "the same [create], [turn], [delete]; plugin/test_interrupted.py::test_ctrl_c[install], [login]"
    ),
    r"daytona/test_daytona_interrupted.py::test_ctrl_c_twice_leaves_at_once\[(create|install)": "the same [turn], [delete], test_ctrl_c[create]",
    # A command of a test, and a turn of a fixture's, are interrupted as others are.
    r"plugin/test_interrupted.py::test_ctrl_c\[(exec|wide_fixture)": "the same [own_sandbox], [stubborn_turn], [teardown]",
    r"plugin/test_interrupted.py::test_sigterm\[(own_sandbox|stubborn_turn)": "the same [sandbox], [teardown], test_ctrl_c[own_sandbox], [stubborn_turn]",
    # What a scenario's call comes to is read of V2's record as of V3's; V1's has less.
    r"plugin/test_replies.py::test_a_(call_that_fails|turn_has_the_tools).*\[v3": "the same [v1], [v2]; .ci/run has V3",
    # Only -vv shows more.
    r"plugin/test_asserting.py::test_what_is_said\[-q": "the same [], [-vv]",
    # What a fault of the link becomes, no shell of the sandbox knows.
    r"daytona/test_daytona_pty.py::test_a_terminal_opens_although\[.*-bash": "the same [*-zsh]",
    r"daytona/test_daytona_pty.py::test_the_status_comes_by\[(control|close|late)-(0|130|255)": "the same [both-*], [*-7]",
    r"daytona/test_daytona_pty.py::test_a_daemon_ends_with_its_terminal_and_with_its_folder\[(setsid|double).*-(bash|sh)\]": "the same [*-zsh], [neither*]",
    r"emulator_tests/test_emulator_link_faults.py::test_the_ways_to_tell_the_end\[knob-(?!both)": "the same [rule-*], [knob-both-*]",
    # Which children there can be is told on both providers; of each kind of end, by those that are hardest to end.
    r"contract/test_sandbox_contract.py::test_(s3_a_timeout|s9_close|s14_background).*\[daytona-(background|silent)": "the same [daytona-stubborn], [daytona-setsid], [local-*]",
    r"contract/test_pty_contract.py::test_p5_close_kills.*\[daytona-(itself|background|nohup)": "the same [daytona-stubborn], [daytona-setsid], [local-*]",
    r"contract/test_pty_contract.py::test_p4_a_death.*\[daytona-(TERM|HUP)": "the same [daytona-KILL], [daytona-SEGV], [local-*]",
    r"contract/test_pty_contract.py::test_p3_children.*\[daytona-[1-4]": "the same [daytona-0], [local-*]",
    r"contract/test_local.py::test_no_warning_of_forks_beside_threads\[3.13": "the same [3.12]",
    # A link that is lost anywhere: by default at its beginning, where each part begins, and at its end.
    r"unit/test_follow.py::test_every_cut_gives_exactly_the_rest\[((-140|-70|3|10|24)-|.*[^0]-raises)": (
        "the same [*-ends], [0-raises], [10-raises], unit/test_follow.py::test_many_random_bytes_with_cuts_anywhere"
    ),
    r"unit/test_lost_turn.py::test_a_turn_is_completed_from_the_log\[(Fir\]|Second|.tool)": "the same [First.], [ready-]; unit/test_follow.py::test_every_cut_*",
    r"unit/test_lost_turn.py::test_a_failed_turn_fails_as_with_a_link\[3-(?!.*exit)": "the same [3-*exit*], [0-*]",
    # How a run is called decides nothing of what an eval owns, nor of the lines that tell where it is.
    r"plugin/test_owner.py::test_every_scope_keeps_its_own\[(|-n2.*|.* -n2)\]": "the same [--randomly-seed=1]; test_a_selection_keeps_its_own, on two workers",
    r"plugin/test_progress.py::test_(on_a_terminal|elsewhere)_it_is_plain_lines.*\[(-v|-q|--capture)": "the same [], [-s]",
    r"plugin/test_report.py::test_live_output_is_shown_when_asked_for\[(-s --kiro|--kiro-stream=on --capture=sys)": (
        "the same [], [-s], [--kiro-stream=on], [--kiro-stream=on --capture=tee-sys]"
    ),
    # A worker is a worker, however its tests are given out.
    r"plugin/test_trials.py::test_more_trials_go_on.*\[two_workers": "the same [one_process], test_the_verdict_is_what_pytest_counts",
    r"plugin/test_trials.py::test_every_way_to_distribute": (
        "plugin/test_trials.py::test_a_worse_variant_is_red*[two_workers], test_a_trial_is_of_the_same_group*"
    ),
    r"plugin/test_budget.py::test_all_workers_spend_of_one_budget\[-n3": "the same [-n2]",
    r"plugin/test_report.py::test_header_and_summary_stand_there_once\[-n2 --dist": "the same [-n2]",
    r"plugin/test_secrets.py::test_a_hook_that_tells_nothing_of_use\[-n1-(?!7-)": "the same [-n1-7-*], [-*]",
    # Every style of pytest's is of the one report that is hidden; by default each has a run, if not all together.
    r"plugin/test_secrets.py::test_nothing_is_left_of_a_secret\[(-rA -vv|-n1|--capture=tee-sys|--tb=native|--tb=line|--full-trace)": (
        "the same [-n2 -rA *], [--showlocals --tb=long *], [-s *]"
    ),
    # The saved login is one file for all engines, and so is a folder for what is temporary.
    r"plugin/test_saved_login.py::test_a_token_that_one_test_renews.*\[v[13]": "the same [v2], test_a_conversation_goes_on_with_the_new_one[v2]",
    r"plugin/test_saved_login.py::test_a_conversation_goes_on_with_the_new_one\[v1": "the same [v2]",
    r"plugin/test_options.py::test_a_temporary_directory_with_any_name\[v[13]": "the same [v2]; shells/test_shells.py::test_shell[*l1_*]",
    r"plugin/test_trials.py::test_trials_share_no_turn.*\[written": "the same [random]",
    r"plugin/test_report.py::test_header_and_summary_stand_there_once\[-v": "the same [], [-q], [-n2]",
    r"plugin/test_device.py::test_any_capture": "plugin/test_device.py::test_device[keys_typed*], [the_code_is*], which are captured otherwise",
    # What the CLI says and exits with is told by the same lines, whatever it is.
    r"plugin/test_device.py::test_device\[(an_expired|a_network|a_wrong_start)": "the same [a_denied_approval*], [a_wrong_argument*]",
    # An eval that nothing fails is found by default; one of whose asserts is not needed, by .ci/run, which has this.
    r"evals/test_evals_can_fail.py::test_(a_worse_agent|each_)": "evals/test_evals_pass.py::test_on_v3_as_a_stream_in_many_ways*",
    r"evals/test_evals_pass.py::test_on_v1": (
        "evals/test_evals_pass.py::test_on_v3_as_a_stream_in_many_ways*, plugin/test_engines.py::test_an_eval_is_the_same_on_every_engine[v1-text]"
    ),
    r"evals/test_evals_pass.py::test_on_every_engine_and_in_every_form_of_output": (
        "evals/test_evals_pass.py::test_on_v3_as_a_stream_in_many_ways*; .ci/run has V3's text"
    ),
    r"evals/test_evals_pass.py::test_on_two_workers": "evals/test_evals_pass.py::test_on_v3_as_a_stream_in_many_ways*",
    r"evals/test_evals_pass.py::test_in_random_order": "evals/test_evals_pass.py::test_on_v3_as_a_stream_in_many_ways*",
    r"evals/test_evals_pass.py::test_in_the_background_of_a_script": "evals/test_evals_pass.py::test_on_v3_as_a_stream_in_many_ways*",
    r"evals/test_evals_pass.py::test_without_node_on_path": "evals/test_evals_pass.py::test_on_v3_as_a_stream_in_many_ways*",
}

#: The files of which this run has collected tests, and what of them is of the matrix, before any is left out.
FILES: set[str] = set()
OF_MATRIX: set[str] = set()


def tier(where: str) -> str:
    """The tier of a test, of a file or of a folder."""
    file, folder = where.partition("::")[0], where.partition("/")[0]
    known = TIERS.get(file, TIERS[folder])
    slow = folder == "contract" and where.partition("[")[2].startswith(("bubblewrap", "daytona", "racing"))
    return DEFAULT if slow and known == FAST else known


def in_matrix(where: str) -> bool:
    return any(re.match(pattern, where) for pattern in MATRIX)


def order(where: str) -> int:
    """What comes first: a long test that begins last is waited for alone."""
    return list(TIERS).index(where.partition("/")[0])
