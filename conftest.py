"""What holds for all tests."""

from hypothesis import settings

# An example may take long where the machine is busy; what hangs is stopped by pytest-timeout.
# Properties that need more examples than these say so themselves.
settings.register_profile("darkroom", deadline=None, max_examples=50)
settings.load_profile("darkroom")
