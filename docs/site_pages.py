"""The pages of the site that `make docs` builds, laid out as in the repository.

MkDocs takes pages from one folder. tfkd's stand in several and link to each other as on GitHub, so
the site has the repository's tree, and no link is rewritten. Two pages are made here: the public
names, from their docstrings, and the settings of every verb, as its `--help` prints them.
"""

import ast
from pathlib import Path

import click
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

from tfkd.cli import verbs

ROOT = Path(__file__).parent.parent
WRITTEN = ("*.md", "docs/*.md", "docs/pictures/*", "results/*.md")
WIDTH = 100


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """The theme's files, the repository's pages, and the two that are made."""
    pages = [file for file in files if file.src_dir != config.docs_dir]
    pages += [
        File.generated(config, path.relative_to(ROOT).as_posix(), abs_src_path=str(path))
        for pattern in WRITTEN
        for path in sorted(ROOT.glob(pattern))
    ]
    for name, text in (("python", public_names()), ("commands", settings())):
        pages.append(File.generated(config, f"reference/{name}.md", content=text))
    return Files(pages)


def public_names() -> str:
    """The names of tfkd/__init__.pyi by their kind; mkdocstrings fills each in from its home."""
    groups: dict[str, list[str]] = {"workflows": ["## The verbs"], "": ["## Their parts"]}
    groups["config"] = ["## Settings", "Each field is an option of [the command](commands.md)."]
    stub = ast.parse((ROOT / "tfkd" / "__init__.pyi").read_text(encoding="utf-8"))
    for node in stub.body:
        if isinstance(node, ast.ImportFrom):
            part = str(node.module).split(".")[0]
            group = groups.get(part, groups[""])
            for alias in node.names:
                group.append(f"::: tfkd.{node.module}.{alias.name}")
                group[-1] += f"\n    options:\n      heading: tfkd.{alias.name}"
                group[-1] += "\n      members: false" if part == "config" else ""
    sections = [section for group in groups.values() for section in group]
    return "\n\n".join(["# tfkd in Python", *sections])


def settings() -> str:
    """What `tfkd VERB --help` prints, a section a verb."""
    sections = ["# The command line", fenced(verbs, "tfkd")]
    for name, command in verbs.commands.items():
        sections += [f"## tfkd {name}", fenced(command, f"tfkd {name}")]
    return "\n\n".join(sections)


def fenced(command: click.Command, name: str) -> str:
    """A command's help as a block."""
    context = click.Context(command, info_name=name, terminal_width=WIDTH, **verbs.context_settings)
    return f"```text\n{command.get_help(context)}\n```"
