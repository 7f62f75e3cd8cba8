"""What a chapter calls: its parameters, its ledger, what the sources report."""
