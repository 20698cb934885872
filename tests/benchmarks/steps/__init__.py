"""The steps, one module for each part of the product; every `Step` found in their `STEPS` is run."""
