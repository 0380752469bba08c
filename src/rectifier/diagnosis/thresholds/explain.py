"""How long trials of an explanation go on, and how many there are."""

EXPLAIN_ONSETS = 2
"""Times the step at which a failure was certain that a trial goes on: a change that only delays it a little is no cure
(our choice)."""

EXPLAIN_MARGIN = 30
"""Steps that are added to that: rules about parameters speak after 30 steps (definitions)."""

EXPLAIN_LEAST_STEPS = 100
"""Fewest steps of a trial: rules about collapsed outputs and best constants speak after 100 (definitions)."""

EXPLAIN_CERTAIN = 2
"""Times the step since which a serious finding stands, after which the unchanged script is ended (our choice)."""

EXPLAIN_SHORT = 10.0
"""Seconds up to which an unchanged script is never ended (our choice: nobody minds waiting so long)."""

EXPLAIN_SURE = 1.25
"""Times the step at which the failure was certain unchanged, after which a trial that has it is ended (our choice)."""

EXPLAIN_NONFINITE = 10
"""Losses in a row that are not finite, after which a trial is ended (our choice: within as many steps a GradScaler that
begins at its usual 65,536 has come down to 64)."""

EXPLAIN_SURE_SHARE = 0.5
"""Share of its steps before which no trial is ended for having failed: some failures pass (our choice)."""

EXPLAIN_FAILING_SEEDS = 3
"""Failing seeds on which a cure must hold (definitions)."""

LOST_DISTINCTION = 10.0
"""Times that an output's share of what tells rows apart must have fallen, for its objective to be said to reach its
optimum at a constant (our choice: an order of magnitude)."""

EXPLAIN_LUCK = 0.05
"""Chance that all failing seeds are spared by luck, up to which a cure of all of them counts (the usual 5%)."""

EXPLAIN_MOST_SEEDS = 10
"""Seeds that are searched for these; a failure that comes on fewer is mostly luck (definitions). The search ends early
where at the share that has failed so far, by Laplace's rule, the rest would hardly (`EXPLAIN_LUCK`) make it enough."""

EXPLAIN_RIVALS = 2
"""Other changes that are tried after evidence and experiment agree: enough to show that not everything helps, and that
there may be another cause (our choice, beside the control with a change of no meaning)."""

EXPLAIN_MOST_OF_IT = 0.5
"""Share of what moved the parameters at a step from which on one source of it is asked first (our choice: most)."""

EXPLAIN_EASES = 1 / 3
"""Share of what the best change takes off the loss, below which another change only eases the failure (our choice)."""

EXPLAIN_HUGE = 1e6
"""Size of an operand from which on a product or a sum that overflows is where a growth ended, and not what is to be
guarded (our choice: no healthy activation or gradient comes near)."""

EXPLAIN_CALLS = 4
"""Number of a layer's call within one forward, counted from 0, from which on the calls are taken for steps of a
recurrence (our choice: layers are shared by two or three branches)."""

EXPLAIN_LOST = 1e-4
"""Share of a gradient that passes an operation, up to which it counts as lost there (our choice: far below the 0.25
that a sigmoid passes at its best, whose slope is at most 1/4)."""
