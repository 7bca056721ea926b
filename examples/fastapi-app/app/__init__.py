"""A FastAPI app in the layout of the boilerplate, whose jobs Arqube runs."""
