"""Stored things side by side: bars of two lengths, two prices of one thing, days in a row.

What belongs here: audits as values, frames in and differences out. What does not: which files are
read (`pipeline/…_audit.py`), the rules' names and severities (`market/quality`).
"""
