"""Every instrument of the rig conforms to its kind."""

import os

from drivers import catalogue, conformance
from hil.rig import Found


async def test_laser(laser: Found) -> None:
    listed = laser.instrument
    assert listed.current_ma is not None
    async with catalogue.open_laser(listed.model, listed.resource) as opened:
        await conformance.check_laser(opened, current_ma=listed.current_ma)


async def test_attenuator(attenuator: Found) -> None:
    listed = attenuator.instrument
    async with catalogue.open_attenuator(listed.model, listed.resource) as opened:
        await conformance.check_attenuator(opened)


async def test_encoder(encoder: Found) -> None:
    listed = encoder.instrument
    assert listed.key_file is not None
    key = (encoder.folder / listed.key_file).read_bytes()
    async with catalogue.open_encoder(listed.model, listed.resource, key, os.urandom) as opened:
        await conformance.check_encoder(opened)


async def test_time_tagger(time_tagger: Found) -> None:
    listed = time_tagger.instrument
    async with catalogue.open_time_tagger(
        listed.model, listed.resource, inputs=listed.inputs
    ) as opened:
        tags = await conformance.check_time_tagger(opened)
        print(f"\n{listed.resource}: {tags.times_ps.size / (tags.until_ps * 1e-12):.0f} tags/s")


async def test_polarization_controller(polarization_controller: Found) -> None:
    listed = polarization_controller.instrument
    async with catalogue.open_polarization_controller(listed.model, listed.resource) as opened:
        await conformance.check_polarization_controller(opened)


async def test_detector(detector: Found) -> None:
    listed = detector.instrument
    assert listed.bias_ua is not None
    async with catalogue.open_detector(listed.model, listed.resource) as opened:
        counts = await conformance.check_detector(
            opened, bias_ua=listed.bias_ua, enable=listed.enable
        )
        print(f"\n{listed.resource}: {counts}")


async def test_power_meter(power_meter: Found) -> None:
    listed = power_meter.instrument
    assert listed.wavelength_nm is not None
    async with catalogue.open_power_meter(listed.model, listed.resource) as opened:
        power_w = await conformance.check_power_meter(opened, wavelength_nm=listed.wavelength_nm)
        print(f"\n{listed.resource}: {power_w:.4g} W")


async def test_entropy_source(entropy_source: Found) -> None:
    listed = entropy_source.instrument
    async with catalogue.open_entropy_source(listed.model, listed.resource) as opened:
        noise = await conformance.check_entropy_source(opened)
        print(f"\n{listed.resource}: {len(noise)} bytes")
