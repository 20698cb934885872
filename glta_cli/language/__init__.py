"""Stages 2 and 3: prompts, projectors, the GLLM head, alignment and fine-tuning."""
