"""What every room may use: random numbers, work that talks, names of plugins, errors for users."""
