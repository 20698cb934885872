"""From raw files to a prepared dataset: cleaning, splits, item texts, and the artefact the stages read."""
