"""How the zoos' classifiers, decoders and detectors were made; ``make zoo`` runs it."""
