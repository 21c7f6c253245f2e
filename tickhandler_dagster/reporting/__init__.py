"""Pictures and tables for people: numbers in, PNG bytes or Markdown out.

No Dagster and no reading of data belongs in here.
"""
