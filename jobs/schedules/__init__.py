"""Schedules: jobs that run again and again, by the clock, by hand or when somebody asks over HTTP."""
