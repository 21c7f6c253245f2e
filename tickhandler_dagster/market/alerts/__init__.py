"""What a person is told, once: signals, incidents, the policy, the ledger of what was delivered."""
