"""Plots of a tidy table, in seaborn's manner: each takes a table and column names, draws on axes, and returns them.

They are those of the reports; `ressearch.reporting.charts` holds them.
"""

from ressearch.reporting.charts import cost_curve, depth_curve, difference_curve, error_distribution, learning_curves

__all__ = ["cost_curve", "depth_curve", "difference_curve", "error_distribution", "learning_curves"]
