"""The site: MyST pages, furo, and the reference from the docstrings of the compiled modules. `make docs` builds it."""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parent))

import docstrings

import poolio

project = "poolio"
author = "the poolio authors"
copyright = author
version = release = poolio.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc"]
myst_enable_extensions = ["attrs_block", "colon_fence", "deflist"]
myst_heading_anchors = 3

html_theme = "furo"
html_title = f"poolio {release}"
html_static_path = ["_static"]
html_css_files = ["poolio.css"]
html_show_sphinx = False
html_copy_source = False

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_default_options = {"members": True, "inherited-members": "object"}
autodoc_class_signature = "mixed"
python_use_unqualified_type_names = True
maximum_signature_line_length = 100


def setup(app):
    app.connect("autodoc-process-docstring", docstrings.process)
    app.connect("autodoc-skip-member", docstrings.skip)
