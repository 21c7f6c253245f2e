"""How venues spell symbols: a module per family of venues; `registry.py` is the table over all.

What belongs here: turning a dataset symbol and the vendor's type into a key. What does not: which
symbols exist on a day (`catalog.py`) and what a contract is worth (`contract_terms.py`).
"""
