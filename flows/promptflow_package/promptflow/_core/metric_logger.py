"""Metrics, where older flow code looks for them."""

from flows.promptflow_names import log_metric as log_metric
