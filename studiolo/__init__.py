"""Studiolo: a whole GenAI and ML studio in one room. Users import only this package."""
