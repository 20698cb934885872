"""What a recipe may set under `graph.options`, free of torch."""

from pydantic import Field

from glta_cli.plugin import Settings


class SimGCLSettings(Settings):
    """Settings of SimGCL."""

    dimension: int = Field(64, ge=1, description="d, of user and item embeddings")
    # Its authors take 2 or 3. On validation data of MovieLens-100K one ranked as well, and got there in fewer steps.
    layers: int = Field(1, ge=1, description="propagations L")
    noise: float = Field(0.1, ge=0, description="length ε of what is added to every node in every layer")
    contrast: float = Field(0.02, ge=0, description="weight λ of the contrast between two noisy views")
    temperature: float = Field(0.2, gt=0, description="τ of the contrast")
    contrasted: int = Field(512, ge=2, description="users and items of a batch that are contrasted, at most")
    regularization: float = Field(1e-4, ge=0, description="weight μ of a batch's squared layer-0 embeddings")
