"""The app of each framework, as its documents say. Not type checked: see the package above."""
