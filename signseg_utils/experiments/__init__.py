"""Computed once, stored with its identity, resumed, audited."""
