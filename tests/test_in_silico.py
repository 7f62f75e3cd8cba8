"""The simulated session is a recording like any other."""

import numpy as np

from signseg_utils.neurons import in_silico, pictures, recordings


def test_it_is_a_recording_with_images() -> None:
    found = recordings.check(in_silico.read(images=40, neurons=4))
    assert found["response"].dims == ("image", "neuron", "repeat")
    assert pictures.pictures(found).shape == (40, 3, in_silico.SIZE, in_silico.SIZE)
    whole = recordings.complete(found)
    assert whole.sizes["image"] == 40 and np.isfinite(whole["response"]).all()
    again = in_silico.read(images=40, neurons=4)
    np.testing.assert_array_equal(found["response"], again["response"])
