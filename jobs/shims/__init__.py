"""Modules that closed or dead packages of Azure ML would bring, for scripts that run in a Python without them.

They run in the job's own Python, from 3.7 on, and know nothing of Studiolo.
"""
