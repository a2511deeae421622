"""Metrics, where older flow code looks for them."""

from flows.promptflow.names import log_metric as log_metric
