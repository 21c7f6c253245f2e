"""What an instrument is worth at a moment, given the hidden prices.

What belongs here: basis, carry and the volatility smile, each a smooth function of time that needs
no other day.
"""

from __future__ import annotations

import numpy as np

from tickhandler_dagster.market.days import US_PER_DAY
from tickhandler_dagster.market.options import black76
from tickhandler_dagster.sandbox.latent import LatentPrices
from tickhandler_dagster.sandbox.listing import Kind, Listing
from tickhandler_dagster.sandbox.seeds import Floats, Ints, stream

US_PER_YEAR = 365 * US_PER_DAY
_CARRY_PER_YEAR = 0.08
_BASIS = 2e-4
_ATM_VOLATILITY = {"BTC": 0.55, "ETH": 0.65, "XRP": 0.8}
_SKEW, _SMILE = -0.06, 0.25
_LEAST_YEARS = 60 / (365 * 86_400)
_WAVE_HOURS = (61.0, 13.0, 3.7, 0.9)


class FairValues:
    """Fair prices, in the instrument's own price unit.

    Args:
        seed: Seed of the whole market.
        latent: Hidden prices.
    """

    def __init__(self, seed: int, latent: LatentPrices) -> None:
        self._seed = seed
        self._latent = latent

    def wave(self, times: Ints, *names: object) -> Floats:
        """A smooth function of time in about [-2, 2], one of its own per name."""
        rng = stream(self._seed, "wave", *names)
        hours = times / (US_PER_DAY / 24)
        return np.asarray(
            sum(
                rng.uniform(0.3, 0.7) * np.sin(2 * np.pi * (hours / period + rng.uniform()))
                for period in _WAVE_HOURS
            )
        )

    def index(self, listing: Listing, times: Ints) -> Floats:
        """Index price: base over quote."""
        log_price = self._latent.log_price(listing.base, times) - self._latent.log_price(
            listing.quote, times
        )
        return np.asarray(np.exp(log_price) * listing.price_factor)

    def basis(self, listing: Listing, times: Ints) -> Floats:
        """Log distance of a perpetual from its index."""
        return _BASIS * (0.5 + self.wave(times, "basis", listing.venue, listing.raw_id))

    def forward(self, listing: Listing, times: Ints) -> Floats:
        """Forward for the instrument's expiry, shared by the dated future and the options."""
        years = self.years_left(listing, times)
        carry = _CARRY_PER_YEAR + 0.02 * self.wave(times, "carry", listing.base)
        return np.asarray(self.index(listing, times) * np.exp(carry * years))

    def years_left(self, listing: Listing, times: Ints) -> Floats:
        """Years to expiry, at least a minute."""
        expiry = listing.expiry_us if listing.expiry_us is not None else 0
        return np.maximum((expiry - times) / US_PER_YEAR, _LEAST_YEARS)

    def option_state(self, listing: Listing, times: Ints) -> black76.OptionState:
        """Forward, strike and time of an option."""
        strike, is_call = (
            (listing.option.strike, listing.option.is_call) if listing.option else (np.nan, True)
        )
        return black76.OptionState(
            forward=self.forward(listing, times),
            strike=np.full(times.shape, strike),
            years=self.years_left(listing, times),
            is_call=np.full(times.shape, is_call),
        )

    def volatility(self, listing: Listing, times: Ints, state: black76.OptionState) -> Floats:
        """The volatility of the smile at the option's strike."""
        level = _ATM_VOLATILITY[listing.base] * np.exp(
            0.05 * self.wave(times, "volatility", listing.base)
        )
        moneyness = np.log(state.strike / state.forward) / np.sqrt(np.maximum(state.years, 1 / 365))
        return np.asarray(np.clip(level + _SKEW * moneyness + _SMILE * moneyness**2, 0.15, 2.0))

    def mid(self, listing: Listing, times: Ints) -> Floats:
        """The price around which the book is quoted."""
        if listing.kind is Kind.OPTION:
            state = self.option_state(listing, times)
            value = black76.premium(state, self.volatility(listing, times, state))
            return np.asarray(value / state.forward) if listing.is_inverse else value
        if listing.kind is Kind.FUTURE:
            return self.forward(listing, times)
        if listing.kind is Kind.PERPETUAL:
            return np.asarray(self.index(listing, times) * np.exp(self.basis(listing, times)))
        return np.asarray(self.index(listing, times) * np.exp(0.1 * self.basis(listing, times)))
