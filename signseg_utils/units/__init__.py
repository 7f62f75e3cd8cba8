"""A unit and its signed inputs: readout rows, ablation by sign, contributions."""
