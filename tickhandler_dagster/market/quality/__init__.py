"""What is wrong with data, said by named rules.

`rules.py` is the table of all rules with their severity, `file_rules.py` and `row_rules.py` apply
them. What to do about a broken rule (retry, quarantine, alert) is decided by callers.
"""
