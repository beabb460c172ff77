"""Statistics of trials: rates, verdicts and comparisons.

Pure functions of counts and numbers, with the standard library alone: docs/statistics.md has their methods and error
rates, docs/trials.md what they mean for users. They raise `ValueError` for what cannot be counted. Nothing here is
imported before a verdict is wanted.

`rates`         a rate and its interval, pass^k and pass@k, the rate of a suite
`gates`         whether a group of trials reaches its rate, and what a design of trials can decide at all
`curtailment`   whether trials still to come can change a verdict, and a rate of a group that was stopped
`strata`        the exact test of two arms over several tasks
`differences`   how far two arms lie apart
`comparison`    better, worse, undecided or insufficient, of one variant or of many
`power`         which difference a number of trials can show
`measures`      numbers beyond passed and failed: medians, shifts, an exact rank test
`sequential`    the interval of a sample that was added to because of what it showed
`groups`        groups of trials made of records, the only file here that knows them
`distributions` and `checks` are what these are made of.
"""
