"""From arrays to numbers: statistics, images by sign, spectra. Nothing is written or drawn here."""
