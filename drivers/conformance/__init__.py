"""What every instrument of a kind must do, checked on an opened one, simulated or real.

Each ``check_*`` returns when the instrument conforms and raises NotConforming otherwise. It leaves
the instrument dark: laser off, shutter closed, detectors without bias, encoder and tagger stopped.
"""

from drivers.conformance.demands import NotConforming as NotConforming
from drivers.conformance.detecting import check_detector as check_detector
from drivers.conformance.encoding import SMALL_PLAN as SMALL_PLAN
from drivers.conformance.encoding import check_encoder as check_encoder
from drivers.conformance.light import check_attenuator as check_attenuator
from drivers.conformance.light import check_laser as check_laser
from drivers.conformance.measuring import check_power_meter as check_power_meter
from drivers.conformance.noise import check_entropy_source as check_entropy_source
from drivers.conformance.polarizing import (
    check_polarization_controller as check_polarization_controller,
)
from drivers.conformance.tagging import check_time_tagger as check_time_tagger
