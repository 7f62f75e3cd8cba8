"""What is written, fetched and checked: stores, weights, downloads, and where they lie."""
