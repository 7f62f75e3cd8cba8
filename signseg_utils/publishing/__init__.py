"""What makes pages of chapters: execution, cleaning, provenance."""
