"""What a chapter says: its claims, where they come from, the ledger of all."""
