"""Fit a model to each neuron of a recording, and ablate its positive and its negative weights."""

from signseg_utils import Ablation, ablate, load_zoo
from signseg_utils.neurons import encoding, recordings
from signseg_utils.neurons.features import Features, extract
from signseg_utils.neurons.pictures import pictures

recording = recordings.averaged(recordings.load("simulated"))  # yours: load("responses.csv")
network = load_zoo("shapes").network("alexnet")
features = extract(Features(network, "features"), pictures(recording, 48)).double()
responses = recording["response"].transpose("image", "neuron").values

first = slice(0, 160)  # fitted; the others test
models = encoding.fit(features[first], responses[first], labels=recording["neuron"].values)
rest = features[160:]
r = encoding.correlation(encoding.predict(models, rest), responses[160:])
print(f"{len(models)} neurons, correlation with held-out responses {r.mean():.2f}")
for sign in ("positive", "negative"):
    change = ablate(models, Ablation(sign, alpha=1)).responses(rest) - models.responses(rest)
    print(f"without {sign} weights the prediction changes by {change.mean():.2f}")
