"""The dbt project as a code location of its own: marts as assets, dbt's tests as their checks.

It stands beside the platform's definitions and not in them: dbt takes seconds to import, which a
sensor's tick and a run of candles do not pay. Here, and only here, dagster-dbt and sqlglot are
imported at module level: nothing in this package is of use without them.
"""
