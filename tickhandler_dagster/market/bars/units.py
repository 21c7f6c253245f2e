"""Amounts of the venue become base quantity and quote value by the contract's terms.

What does not belong here: where the terms come from (`instruments.py`).
"""

from __future__ import annotations

from dataclasses import dataclass

from tickhandler_dagster.market.bars.ticks import Float64Array, TradeTicks


@dataclass(frozen=True, slots=True)
class ContractTerms:
    """What one unit of the venue's amount is worth.

    Attributes:
        contract_size: Base asset (linear) or quote asset (inverse) per unit of amount; None where
            unknown.
        is_inverse: A contract is worth a fixed amount of the quote asset.
        is_quanto: Settled in an asset that is neither base nor quote: amounts have no value in
            either.
    """

    contract_size: float | None
    is_inverse: bool = False
    is_quanto: bool = False

    @property
    def has_known_units(self) -> bool:
        """Base quantities and quote values can be computed."""
        return self.contract_size is not None and not self.is_quanto


@dataclass(frozen=True, slots=True, eq=False)
class Sizes:
    """Sizes of trades in true units.

    Attributes:
        base: Base asset traded, `q`.
        quote: Quote asset traded, `N`.
    """

    base: Float64Array
    quote: Float64Array


def sizes(ticks: TradeTicks, terms: ContractTerms) -> Sizes | None:
    """Base and quote size of each trade; None where the contract's units are unknown.

    Linear: `q = amount · size`, `N = price · q`. Inverse: `N = amount · size`, `q = N / price`. An
    average of prices
    weighted by an inverse contract's amount would be arithmetic where the money is harmonic; these
    are right for both.
    """
    if terms.contract_size is None or terms.is_quanto:
        return None
    worth = ticks.amount * terms.contract_size
    if terms.is_inverse:
        return Sizes(base=worth / ticks.price, quote=worth)
    return Sizes(base=worth, quote=ticks.price * worth)
