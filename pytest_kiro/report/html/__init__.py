"""Makes one HTML file of a run: `--kiro-report` and `python -m pytest_kiro report`.

`evidence` holds what is known beside records, `eval_views`, `trial_views` and `comparison_views` what is shown of them,
`pages` puts it together, `rendering` makes text of it with Jinja by the templates in `page/`. It is imported when a
report is made, and needs the extra `pytest-kiro[report]`.
"""
