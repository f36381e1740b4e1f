"""Sphinx's settings for the site. `docs/build` runs it; what is about the package comes from settings.ini."""

import logging
import sys
from pathlib import Path

docs = Path(__file__).parent
sys.path.insert(0, str(docs))

import pages  # noqa: E402

logging.getLogger("matplotlib.font_manager").setLevel(logging.ERROR)  # the social cards' font has no bold face
pages.write(docs.parent / "_pages")

settings = pages.config
base = f"{settings.doc_host}{settings.doc_baseurl}/"
project = settings.title
author = settings.author
version = release = settings.version
copyright = settings.copyright
language = "en_GB"

extensions = [
    "myst_nb",  # reads the notebooks
    "fold",  # these four are beside this file: folded code,
    "code_lines",  # lines that wrap,
    "anchors",  # short addresses of definitions,
    "search_index",  # and the search
    "sphinx.ext.linkcode",  # [source] beside each definition
    "sphinx.ext.mathjax",
    "sphinx-mathjax-offline",  # puts MathJax into the site
    "sphinx_copybutton",
    "sphinxext.opengraph",  # title, description and picture where a link is shared
    "sphinx_sitemap",
    "notfound.extension",  # a 404 page that works at any depth
]
exclude_patterns = [".doctrees"]
nitpicky = True  # a link that leads nowhere is an error

nb_execution_mode = "off"  # the outputs are those that CI compares
nb_render_markdown_format = "myst"
myst_enable_extensions = ["amsmath", "attrs_block", "colon_fence", "dollarmath"]
myst_heading_anchors = 3
add_module_names = False
toc_object_entries_show_parents = "hide"

html_theme = "furo"
html_title = project
pygments_dark_style = "github-dark"
html_baseurl = base
html_static_path = ["static"]
html_css_files = ["site.css"]
html_js_files = ["site.js"]
html_favicon = "../nbs/favicon.svg"
html_extra_path = [str(path) for path in pages.notebooks()]  # for download
templates_path = ["templates"]
html_additional_pages = {"search": "search.html"}
html_copy_source = False
html_context = {"licence": f"{settings.git_url}/blob/{settings.branch}/LICENSE"}
html_theme_options = {
    "top_of_page_buttons": [],
    "light_css_variables": {"color-brand-primary": "#1b5e8f", "color-brand-content": "#1b5e8f"},
    "dark_css_variables": {
        "color-brand-primary": "#7cbcec",
        "color-brand-content": "#7cbcec",
        "color-code-background": "#1c2128",  # the style's own is darker than the page
    },
}

mathjax_path = "mathjax/tex-chtml.js"
mathjax3_config = {
    "loader": {"load": ["a11y/assistive-mml"]},  # formulas that a screen reader can read
    "options": {"enableMenu": False},  # it would make every formula a stop of the tab key
}
copybutton_selector = ".cell_input pre, .highlight-sh pre, .highlight-python pre"
copybutton_prompt_text = r"\$ |>>> |\.\.\. |In \[\d*\]: "
copybutton_prompt_is_regexp = True
ogp_site_url = base
ogp_description_length = 160
ogp_social_cards = {"line_color": "#1b5e8f"}
sitemap_url_scheme = "{link}"
sitemap_excludes = ["404.html", "genindex.html", "py-modindex.html", "search.html"]
notfound_urls_prefix = f"{settings.doc_baseurl}/"


def linkcode_resolve(domain: str, info: dict) -> str | None:
    "Where the source of a definition is."
    return pages.lookup.code(info["fullname"])
