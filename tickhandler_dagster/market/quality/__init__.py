"""What is wrong with data, said by named rules.

`rules.py` is the table of all rules with their severity; `file_rules.py` and `row_rules.py` apply
them while a file is read, `file_audit.py` to a stored one; `gaps.py` and `silences.py` find what is
missing inside a day; `policy.py` says which states and rules are errors. What to do about a broken
rule (retry, quarantine, alert) is decided by callers.
"""
