"""The stages from prepared data to an index: one a file, their order, and the pipeline that runs them."""
