"""What holds for every test."""

from hypothesis import settings

# A property is a claim about results; how long an example takes says how busy the machine is.
settings.register_profile("qkdd", deadline=None)
settings.load_profile("qkdd")
