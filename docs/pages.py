"""Turn the notebooks into pages for Sphinx: nbdev's own processing, then nbdev's terms translated into those of MyST-NB.

nbdev itself would hand the processed notebooks to Quarto, which pip cannot install.
"""

import ast
import builtins
import inspect
import itertools
import pydoc
import re
import sys
import textwrap
from importlib import import_module
from pathlib import Path

import nbformat
import yaml
from fastcore.docments import docments
from nbdev.config import get_config
from nbdev.doclinks import NbdevLookup
from nbdev.process import NBProcessor, Processor
from nbdev.processors import FilterDefaults, add_fold, add_links, exec_show_docs, insert_warning, mv_exports, rm_export
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook
from sphinx.errors import ConfigError

from minibatch_mlp import _modidx
from minibatch_mlp import all as public
from minibatch_mlp.learner import EVENTS

root = Path(__file__).parent.parent
config = get_config()


class SourceLast(Processor):
    "Shows all definitions of a cell in order, then their source. nbdev shows the last, the source, and the others backwards."

    def begin(self):
        cells = self.nb.cells
        for cell in [cell for cell in cells if cell.cell_type == "code" and cell.directives_.keys() & {"export", "exports"}]:
            start = stop = cells.index(cell) + 1
            while stop < len(cells) and getattr(cells[stop], "has_sd", False):
                stop += 1
            cells[start - 1 : stop] = [*reversed(cells[start:stop]), cell]


def rm_hidden(cell):
    "Takes out what is for tests and for nbdev. nbdev's own `rm_export` would take out exported code too, which is folded here."
    if cell.directives_.keys() & {"hide", "default_exp"}:
        del cell["source"]


left_out = insert_warning, exec_show_docs, add_links, add_fold
in_place_of = {mv_exports: SourceLast, rm_export: rm_hidden}
processors = [in_place_of.get(p, p) for p in FilterDefaults().base_procs() if p not in left_out]
directives = {
    *("default_exp", "export", "exporti", "exports", "exec_doc", "hide", "hide_line", "filter_stream", "notest"),  # nbdev's
    *("echo:", "output:", "include:", "eval:", "code-fold:", "code-summary:", "fig-cap:", "fig-alt:"),  # Quarto's
    *("tolerance:", "timing:"),  # those of .ci/compare_outputs.py
}
lookup = NbdevLookup()
short = {"nn": "torch.nn", "F": "torch.nn.functional", "np": "numpy", "Tensor": "torch.Tensor", "plt": "matplotlib.pyplot"}


def documented() -> dict[str, str]:
    "The names that have a place on a page, and their methods, each with its full name."
    found = {}
    for module, names in _modidx.d["syms"].items():
        exported = import_module(module).__all__ if names else ()
        for full in names:
            name, _, method = full.removeprefix(f"{module}.").partition(".")
            if name in exported and not method.startswith("_") and method not in EVENTS:  # what a callback does then is its own
                found[full.removeprefix(f"{module}.")] = full
    return found


symbols = documented()


def page_name(path: Path) -> str:
    "The name of a notebook's page, as in nbdev: no number in front, so that links survive a new order."
    return re.sub(r"^\d+_", "", path.stem)


def heading(path: Path, title: str) -> str:
    "The title of a page, with the number of its notebook in front."
    number = re.match(r"\d+(?=_)", path.stem)
    return f"# {int(number[0])}. {title}" if number else f"# {title}"


# Links


def exception(name: str) -> str | None:
    "Where Python documents an exception: nbdev-stdlib leaves them out."
    module, _, last = name.rpartition(".")
    if module and module not in sys.stdlib_module_names:
        return None
    found = getattr(import_module(module) if module else builtins, last, None)
    if inspect.isclass(found) and issubclass(found, BaseException):
        return f"https://docs.python.org/3/library/{module or 'exceptions'}.html#{name}"


def torch_name(name: str) -> str | None:
    "The full name of what PyTorch calls `name`, if it gives that name to one thing only."
    modules = lookup.entries["nbdev_pytorch"]["syms"].values()
    full_names = {full for names in modules for full in names if full.endswith(f".{name}")}
    things = {id(thing) for thing in map(pydoc.locate, full_names) if thing is not None}
    return min(full_names, key=len) if len(things) == 1 else None


def link(match: re.Match) -> str:
    "A name in backticks, or a call of it, as a link to where the name is documented, if it is."
    owner, quoted, name = match[1] or "", match[2], match[3]
    if owner and "." not in name:  # it may be a name of ours too, and that is not the one
        found = torch_name(name)
        return f"{owner}[{quoted}]({lookup.doc(found)})" if found else match[0]
    return owner + link_to(quoted, name)


def link_to(quoted: str, name: str) -> str:
    if name in symbols:
        return f"{{py:obj}}`{quoted.strip('`')} <{symbols[name]}>`"
    first, dot, rest = name.partition(".")
    found = lookup.doc(f"{short.get(first, first)}{dot}{rest}") if dot else None
    found = found or exception(name)
    return f"[{quoted}]({found})" if found else quoted


def linked(markdown: str) -> str:
    "Markdown with links from names, and to pages in place of notebooks. Code, headings and the texts of links stay."
    markdown = re.sub(r"\]\((?:\d+_)?(\w+\.ipynb)", r"](\1", markdown)
    lines, fenced = [], False
    for line in markdown.split("\n"):
        fenced ^= line.lstrip().startswith(("```", "~~~"))
        if not fenced and not line.startswith(("#", "    ", "```")):
            parts = re.split(r"(\[[^]]*\]\([^)]*\)|\$[^$]+\$)", line)
            parts[::2] = [re.sub(r"(PyTorch['’]s )?(?<!`)(`([\w.]+)(?:\([^`]*\))?`)(?!`)", link, part) for part in parts[::2]]
            line = "".join(parts)
        lines.append(line)
    return "\n".join(lines)


# Definitions


class AsWritten(str):
    "A default or an annotation that is shown as this text and not by its `repr`."

    __repr__ = str.__str__


def by_name(value):
    "A function or class as its name: its own `repr` would tell an address."
    named = inspect.isroutine(value) or inspect.isclass(value) and value is not inspect.Parameter.empty
    return AsWritten(value.__name__) if named else value


def calculated_defaults(found) -> dict[str, str]:
    "The defaults that the source calculates from numbers, as they stand there: `1/3`, and not 0.3333333333333333."
    function = found.__init__ if inspect.isclass(found) else found
    try:
        source = textwrap.dedent(inspect.getsource(function))
    except (OSError, TypeError):  # made by a decorator, or by Python itself
        return {}
    taken = ast.parse(source).body[0].args
    positional = [*taken.posonlyargs, *taken.args]
    pairs = [*zip(reversed(positional), reversed(taken.defaults)), *zip(taken.kwonlyargs, taken.kw_defaults)]
    return {arg.arg: ast.get_source_segment(source, value) for arg, value in pairs if isinstance(value, ast.BinOp)}


def signature(found) -> str:
    "The parameters with their defaults; the table below has the types."
    try:
        taken = inspect.signature(found)
    except ValueError:
        return ""
    calculated, parameters = calculated_defaults(found), []
    for p in taken.parameters.values():
        default = AsWritten(calculated[p.name]) if p.name in calculated else by_name(p.default)
        parameters.append(p.replace(annotation=p.empty, default=default))
    without_self = parameters[1:] if parameters and parameters[0].name == "self" else parameters
    return str(taken.replace(parameters=without_self, return_annotation=taken.empty))


def table(found) -> str:
    """The docments of a definition, a parameter a line: type and comment. The signature above has the defaults.

    Without any comment there is no table."""
    rows, empty = [], inspect.Parameter.empty
    for name, doc in docments(found, full=True, args_kwargs=True).items():
        if name != "self" and doc.docment is not None:
            guessed = doc.anno in (empty, type(None))  # fastcore takes the default's type where there is no annotation
            anno = "" if guessed else inspect.formatannotation(by_name(doc.anno))
            anno = re.sub(r"(\w+\.)+(?=\w)", "", anno).replace("|", "\\|")
            anno = f"`{anno}`" if anno else ""
            rows.append(("*returns*" if name == "return" else f"`{name}`", anno, doc.docment))
    if not rows:
        return ""
    rows = [("parameter", "type", "meaning"), ("---",) * 3, *rows]
    used = [column for column in zip(*rows) if any(column[2:])]  # without the types, if no parameter has one
    return "\n".join(f"| {' | '.join(row)} |" for row in zip(*used))


def definition(module: str, name: str, source_follows: bool) -> str:
    """What `show_doc` shows: signature, docstring, a table of the parameters and, for a class, its methods.

    The signature alone, where the source stands below: it has the rest beside the code."""
    found = getattr(import_module(module), name)
    is_class = inspect.isclass(found)

    def explained(what) -> list[str]:
        return [] if source_follows else [linked(inspect.cleandoc(what.__doc__ or "")), "", linked(table(what))]

    lines = [f"::::{{py:{'class' if is_class else 'function'}}} {name}{signature(found)}", f":module: {module}", ""]
    lines += [*explained(found), ""]
    for method_name, method in vars(found).items() if is_class else ():
        if not inspect.isroutine(method) or f"{name}.{method_name}" not in symbols:
            continue
        quiet = [":no-typesetting:"] if source_follows else []  # a target for links, and nothing to see
        lines += [f":::{{py:method}} {method_name}{signature(method)}", ":no-contents-entry:", *quiet, ""]
        lines += [*explained(method), ":::", ""]
    return "\n".join([*lines, "::::"])


# Cells


def refuse(path: Path, cell, message: str):
    raise ConfigError(f"{path.name}, cell {cell.id}: {message}\n{cell.source[:300]}")


def check(path: Path, cell) -> None:
    """Raise `ConfigError` for what the site does not know, or Jupyter, GitHub or Quarto would not, and for a picture
    without a text alternative."""
    if cell.cell_type == "markdown":
        text = re.sub(r"^```[^{].*?^```", "", cell.source, flags=re.M | re.S)
        if found := re.search(r"^(:::|> ?\[!|```\{).*|\{[\w:]+\}`", text, re.M):
            refuse(path, cell, f"{found[0]!r} is not Markdown that is read everywhere: use a block quote or plain text")
        if re.search(r"!\[\s*\]|<img(?![^>]*\balt=.[^\"'])", text):
            refuse(path, cell, "a picture without a text alternative: write it between the brackets, or in `alt`")
    if cell.cell_type != "code":
        return
    for name in cell.directives_:
        if name not in directives:
            refuse(path, cell, f"the directive {name!r} is not known here; known are {', '.join(sorted(directives))}")
    shown = "hide" not in cell.directives_ and option(cell, "include") != "false"
    has_picture = any(mime.startswith("image/") for output in cell.outputs for mime in output.get("data", {}))
    if shown and has_picture and not option(cell, "fig-alt"):
        refuse(path, cell, "a picture without a text alternative: add `#| fig-alt: ...`")


def option(cell, name: str) -> str:
    "The value of a directive such as `echo`, without quotes; empty if the cell has none."
    return " ".join(cell.directives_.get(f"{name}:", [])).strip().strip("\"'")


def without_directives(source: str) -> str:
    return re.sub(r"^#\|.*\n?", "", source, flags=re.M).strip()


def translated(cell):
    "A code cell with tags and settings of MyST-NB that say what its directives say, in place of them."
    tags, settings = [], {}
    if option(cell, "include") == "false":
        tags.append("remove-cell")
    if option(cell, "echo") == "false":
        tags.append("remove-input")
    if option(cell, "output") == "false":
        tags.append("remove-output")
    if option(cell, "code-fold") in ("true", "show"):
        # The result gives the solution of an exercise away, so it is folded too.
        tags.append("hide-cell" if option(cell, "code-summary").startswith("Solution") else "hide-input")
        settings["code_prompt_show"] = option(cell, "code-summary") or "Code"
        settings["code_prompt_hide"] = option(cell, "code-fold")  # fold.py opens the fold if this is `show`
    if cell.directives_.keys() & {"export", "exporti"}:
        tags.append("hide-input")
        settings["code_prompt_show"] = what_it_defines(cell.source)
    if option(cell, "fig-alt"):
        settings["image"] = {"alt": option(cell, "fig-alt")}
    if option(cell, "fig-cap"):
        settings["figure"] = {"caption": option(cell, "fig-cap")}
    for output in cell.outputs:
        if "text/markdown" in output.get("data", {}):
            output.data["text/markdown"] = linked("".join(output.data["text/markdown"]))
    metadata = {"tags": tags, "mystnb": settings}
    return new_code_cell(without_directives(cell.source), outputs=cell.outputs, metadata=metadata, id=cell.id)


def what_it_defines(source: str) -> str:
    "The name of a fold: `Imports`, or the names that a cell defines."
    statements = ast.parse(source).body
    if all(isinstance(statement, ast.Import | ast.ImportFrom) for statement in statements):
        return "Imports"
    names = [getattr(statement, "name", None) or ast.unparse(statement).partition(" = ")[0] for statement in statements]
    return f"Code: {', '.join(names)}"


def defined_below(cells: list, cell, name: str) -> bool:
    "Whether the cell that `show_doc` stands for shows the source of `name`: SourceLast has put it after all of its names."
    rest = itertools.dropwhile(lambda other: getattr(other, "has_sd", False), cells[cells.index(cell) :])
    following = next(rest, None)
    if following is None or following.cell_type != "code" or "exports" not in following.directives_:
        return False
    return re.search(rf"^(class|def) {name}\b", following.source, re.M) is not None


def as_is(cell) -> str:
    "What a cell printed, for `#| output: asis`."
    return "".join("".join(output.get("text", "")) for output in cell.outputs)


# Pages


def ways(path: Path) -> str:
    "Links to the notebook itself."
    place = f"{config.branch}/{config.nbs_path.name}/{path.name}"
    colab = f"https://colab.research.google.com/github/{config.user}/{config.repo}/blob/{place}"
    links = [
        f'<a href="{colab}">Open in Colab</a>',
        f'<a href="{path.name}" download>Download the notebook</a>',
        f'<a href="{config.git_url}/blob/{place}">See it on GitHub</a>',
    ]
    links = links[path.stem == "index" :]  # index.ipynb measures with what lies beside it in the repository
    return f'<p class="ways">{" ".join(links)}</p>'


def page(path: Path) -> str:
    "The page of a notebook, as the text of a notebook for MyST-NB."
    processor = NBProcessor(path, procs=processors)
    for cell in processor.nb.cells:
        check(path, cell)
    processor.process()
    module = f"{config.lib_name}.{page_name(path)}"
    cells = []
    for cell in processor.nb.cells:
        if cell.cell_type == "raw":
            front = yaml.safe_load(cell.source.strip().strip("-"))
            top = f"{heading(path, front['title'])}\n\n{{.lead}}\n{linked(front['description'])}\n\n"
            cells.append(new_markdown_cell(top if path.stem == "index" else top + ways(path)))
        elif cell.cell_type == "markdown":
            actions = r"^(?=(\[[^]]*\]\([^)]*\)( · |$))+$)"  # a line of nothing but links
            cells.append(new_markdown_cell(linked(re.sub(actions, "{.actions}\n", cell.source, flags=re.M))))
        elif shown := re.search(r"^show_doc\(([\w.]+)", cell.source, re.M):
            cells.append(new_markdown_cell(definition(module, shown[1], defined_below(processor.nb.cells, cell, shown[1]))))
        elif option(cell, "output") == "asis":
            cells.append(new_markdown_cell(linked(as_is(cell))))
        else:
            cells.append(translated(cell))
    if path.stem == "index":
        cells.append(new_markdown_cell(f"{ways(path)}\n\n{contents()}"))
    for i, cell in enumerate(cells):
        cell.id = str(i)  # a random one would make every page new to Sphinx
    metadata = {
        "myst": {"html_meta": {"description": front["description"]}},
        "language_info": {"name": "python", "pygments_lexer": "ipython3"},
    }
    return nbformat.writes(new_notebook(cells=cells, metadata=metadata))


def contents() -> str:
    names = [page_name(path) for path in sorted(notebooks()) if path.stem != "index"]
    return "\n".join([":::{toctree}", ":hidden:", "", *names, "reference", "genindex", ":::"])


def reference() -> str:
    "All public names by module, with the first sentence of each docstring."
    lines = ["# Reference", "", "Everything that `from minibatch_mlp.all import *` brings, and the modules it comes from.", ""]
    for path in sorted(notebooks()):
        module = f"{config.lib_name}.{page_name(path)}"
        names = [name for name, value in vars(public).items() if getattr(value, "__module__", None) == module]
        if names:
            lines += [f"## {module}", "", f":::{{py:module}} {module}", ":no-contents-entry:", ":::", ""]
            lines += [f"Built in [](/{page_name(path)}.ipynb).", "", "| name | what it is |", "|---|---|"]
            for name in names:
                sentence = re.split(r"(?<=[a-z)`]\.)\s+(?=[A-Z])|\n\n", getattr(public, name).__doc__ or "")[0]
                lines.append(f"| {linked(f'`{name}`')} | {linked(' '.join(sentence.split()))} |")
            lines.append("")
    return "\n".join(lines)


def notebooks() -> list[Path]:
    return [path for path in config.nbs_path.glob("*.ipynb") if path.name[0] not in "._"]


def write(folder: Path) -> None:
    "Write all pages into `folder`. A page that stays the same is not touched, so that Sphinx does not build it again."
    missing = (root / "docs" / "404.md").read_text(encoding="utf-8")
    texts = {"reference.md": reference(), "404.md": missing.replace("BASE", config.doc_baseurl)}  # it is shown at any depth
    texts |= {f"{page_name(path)}.ipynb": page(path) for path in notebooks()}
    for path in folder.glob("*"):
        if path.is_file() and path.name not in texts:
            path.unlink()
    for name, text in texts.items():
        if not (folder / name).exists() or (folder / name).read_text(encoding="utf-8") != text:
            (folder / name).write_text(text, encoding="utf-8")
