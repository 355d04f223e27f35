"""What holds for all tests."""

from hypothesis import settings

# An example may take long where the machine is busy; what hangs is stopped by pytest-timeout.
settings.register_profile("darkroom", deadline=None)
settings.load_profile("darkroom")
